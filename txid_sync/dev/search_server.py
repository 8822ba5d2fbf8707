"""A throw-away Elasticsearch or OpenSearch: one real node in one Java process.

Most nodes live for a minute or less, and Java would spend most of it on loading and compiling
code: they take the loaded classes from an archive, made once and cached, and stop at the compiler
that is quick rather than good.  This is a quarter of the processor time of a plain start.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from txid_sync.dev.cache import cached
from txid_sync.dev.engines import Engine, class_path, find_engine
from txid_sync.dev.folders import RunFolder
from txid_sync.dev.java import Jdk, find_jdk
from txid_sync.dev.ports import free_port
from txid_sync.dev.processes import Command, ServerError, ServerProcess, log_tail
from txid_sync.dev.server import Server

PORT_TRIES = 5
ARCHIVE_SECONDS = 300.0
# No proxy, whatever the environment says: the node is on this machine.
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class SearchServer(Server):
    """One node of an engine, named as in engines.py, for example opensearch-3.8.0.

    `settings` are the engine's own, for example thread_pool.write.queue_size.  `long_lived`: Java
    compiles for speed, as in production.  `archive_to`: at a stop in good order the loaded classes
    are written to that file.

    As a context manager it starts at entry; at exit it stops and its folder is removed.
    """

    def __init__(
        self,
        engine: str | Engine,
        settings: Mapping[str, object] | None = None,
        *,
        heap_megabytes: int = 512,
        long_lived: bool = False,
        archive_to: Path | None = None,
    ) -> None:
        self.engine = engine if isinstance(engine, Engine) else find_engine(engine)
        self.version = self.engine.version
        self.port = 0
        self._settings = dict(settings or {})
        self._heap_megabytes = heap_megabytes
        self._jdk = find_jdk(self.engine.least_java)
        self._class_path = ":".join(map(str, class_path(self.engine, self._jdk)))
        if archive_to is not None:
            self._pace = [f"-XX:ArchiveClassesAtExit={archive_to}"]
        elif long_lived:
            self._pace = []
        else:
            archive = class_archive(self.engine, self._jdk)
            self._pace = ["-XX:TieredStopAtLevel=1", f"-XX:SharedArchiveFile={archive}"]
        self._run_folder = RunFolder(self.engine.name)
        self.folder = self._run_folder.path
        self.home = self.folder / "home"
        self.log = self.folder / "server.log"
        self._transport_port = 0

    @property
    def url(self) -> str:
        """Base address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, timeout_seconds: float = 120.0) -> None:
        """Start, and wait until the cluster is yellow or green; port and data stay over restarts.

        Raises ServerError, with the end of the log, if it does not come up.
        """
        if self.running():
            return
        tries = 1 if self.port else PORT_TRIES
        for attempt in range(1, tries + 1):
            fresh = not self.port
            if fresh:
                self.port, self._transport_port = free_port(), free_port()
            try:
                self._launch(timeout_seconds)
            except ServerError as error:
                if fresh:
                    self.port = 0
                if attempt == tries or "Address already in use" not in error.hint:
                    raise
            else:
                return

    def stop(self, timeout_seconds: float = 60.0) -> None:
        """Stop in good order; harmless when it does not run."""
        if self._process is not None:
            self._process.stop(signal.SIGTERM, timeout_seconds)
        self._process = None

    def restart(self) -> None:
        """Stop and start on the same port with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End the node at once and remove the folder."""
        with contextlib.suppress(ServerError):
            self.kill9()
        self._run_folder.remove()

    def request(self, method: str, path: str, body: object = None) -> Any:
        """One JSON request, for set-up and clean-up; raises urllib.error.HTTPError."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        ask = urllib.request.Request(self.url + path, data, headers, method=method)
        with LOCAL.open(ask, timeout=60) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def delete_indices(self, prefix: str) -> None:
        """Delete every index whose name begins so, hidden ones too."""
        path = f"/_cat/indices/{prefix}*?format=json&h=index&expand_wildcards=all"
        for row in self.request("GET", path):
            self.request("DELETE", f"/{row['index']}")

    def _launch(self, timeout_seconds: float) -> None:
        process = ServerProcess(self._command())
        deadline = time.monotonic() + timeout_seconds
        while process.running() and time.monotonic() < deadline:
            if self._healthy(process):
                self._process = process
                return
            time.sleep(0.05)
        process.kill9()
        raise ServerError(f"{self.engine.title} did not start", log_tail(self.log))

    def _command(self) -> Command:
        heap = f"{self._heap_megabytes}m"
        # The engines call native code; Java 21 and later ask for leave.
        native = ["--enable-native-access=ALL-UNNAMED"] if self._jdk.major >= 21 else []
        # 127.0.0.1 is among the settings of the main classes.
        ports = [str(self.port), str(self._transport_port)]
        settings = [f"{name}={setting_text(value)}" for name, value in self._settings.items()]
        # Serial: it starts faster and needs less beside other servers on few cores.
        memory = [f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseSerialGC"]
        java = [self._jdk.java, *memory, *self._pace, *self.engine.java_options(), *native]
        node = [self.engine.main_class, str(self.home), *ports, *settings]
        return Command(
            argv=[*java, f"-Djava.io.tmpdir={self.folder}", "-cp", self._class_path, *node],
            folder=self.folder,
            log=self.log,
            orphan_signal=signal.SIGKILL,
        )

    def _healthy(self, process: ServerProcess) -> bool:
        """Whether the node that answers on the port is the one that we started, and ready."""
        try:
            health = self.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")
            local = self.request("GET", "/_nodes/_local/process?filter_path=nodes.*.process.id")
        except (OSError, ValueError):  # not listening yet, or not ready: 4xx and 5xx too
            return False
        pids = [node["process"]["id"] for node in local["nodes"].values()]
        return health["status"] in ("yellow", "green") and pids == [process.pid]


def class_archive(engine: Engine, jdk: Jdk) -> Path:
    """The classes that a node has loaded once it has written and searched, from the cache."""

    def build(folder: Path) -> None:
        with SearchServer(engine, archive_to=folder / "classes.jsa") as node:
            node.request("PUT", "/warm/_doc/1?refresh=true", {"name": "a", "number": 1})
            node.request("POST", "/warm/_search", {"query": {"match_all": {}}})
            node.request("DELETE", "/warm")
            node.stop(ARCHIVE_SECONDS)

    # An archive fits the very Java that has written it; another one would ignore it.
    release = (jdk.home / "release").read_bytes()
    jars = "".join(map(str, class_path(engine, jdk)))
    digest = hashlib.sha256(release + jars.encode()).hexdigest()
    return cached(f"{engine.name}-classes-{digest[:8]}", build) / "classes.jsa"


def setting_text(value: object) -> str:
    """A setting as the engines write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
