"""The stage of a chaos run: servers, proxies before them, writers, two syncers, the checker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from psycopg2.extensions import make_dsn

from tests.faults.http_proxy import HttpProxy
from tests.faults.proxy import PostgresProxy
from tests.integration.standbys import Server
from txid_sync.dev.elasticsearch import ElasticsearchServer
from txid_sync.dev.postgres import PostgresServer
from txid_sync.dev.server import Closing
from txid_sync.dev.supervise import Supervised

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = 8
DATABASE = "sync-test"
SYNCER = "syncer"  # its application_name
DEMO = ("items", "codes", "stock", "notes", "measurements", "orders", "order_lines")
MARKS = "marks"
TABLES = (*DEMO, MARKS)
CREATE_MARKS = (
    f"create table {MARKS} (id int primary key, n bigint); insert into {MARKS} values (1, 0); "
    f"select txid_sync.track('{MARKS}')"
)
# A small node: full queues come about by themselves and by bursts.
NARROW = {"thread_pool.write.size": 1, "thread_pool.write.queue_size": 4,
          "http.max_content_length": "1mb"}  # fmt: skip


class World(Closing):
    """All that takes part in a run; as a context manager it comes and goes.

    `polled` is the server that the syncers read: with `standby` a hot standby of `postgres`.
    """

    polled: PostgresServer

    def __init__(self, seed: int, folder: Path, standby: bool = False) -> None:
        self.seed, self.folder, self.standby = seed, folder, standby
        self._stack = ExitStack()
        self.syncers: list[Supervised] = []
        self.written = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.postgres = stack.enter_context(Server() if self.standby else PostgresServer())
            self.search = stack.enter_context(ElasticsearchServer(settings=NARROW))
            self.http_proxy = stack.enter_context(HttpProxy(self.search.port))
            self.dsn = self.postgres.createdb(DATABASE)
            self.environment = {
                **os.environ,
                "POSTGRES_CONFIG": self.dsn,
                "ELASTICSEARCH_URL": self.search.url,
                "PGAPPNAME": SYNCER,
                # Truncations come by themselves; a resync in between may find most rows gone.
                "TXID_SYNC_PIPELINE_BRAKE_SHARE": "1.0",
                "TXID_SYNC_PIPELINE_DEADLINE_SECONDS": "3",
                "TXID_SYNC_SOURCE_RETRY_PERIOD_SECONDS": "0.5",
            }
            apply_schema(self.environment)
            session = self.postgres.connect(DATABASE)
            with session.cursor() as cursor:
                cursor.execute(CREATE_MARKS)
            session.close()
            self.polled = self.postgres
            if isinstance(self.postgres, Server):
                self.polled = stack.enter_context(Server(self.postgres))
            self.postgres_proxy = stack.enter_context(PostgresProxy(self.polled.port))
            self._stack = stack.pop_all()
        return self

    def close(self) -> None:
        """End everything."""
        self._stack.close()

    # -- actors -----------------------------------------------------------------------------

    def start(self) -> None:
        """Let the writers write, as far as time is left for them, and two syncers run."""
        load = script("load-generator.py", str(CONNECTIONS), "--seed", str(self.seed),
                      "--max-sleep-seconds", "4")  # fmt: skip
        self._load = subprocess.Popen(
            ["nice", "-n", "15", *load],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._said: list[str] = ["", ""]
        self._reader = threading.Thread(target=self._listen)
        self._reader.start()
        through = {
            **self.environment,
            "POSTGRES_CONFIG": make_dsn(self.polled_dsn, port=self.postgres_proxy.port),
            "ELASTICSEARCH_URL": self.http_proxy.url,
        }
        self.syncers = [Supervised(sync("--page-size", "300"), through, log) for log in self.logs]

    @property
    def polled_dsn(self) -> str:
        """The server that the syncers read, without a proxy."""
        return self.polled.dsn(DATABASE)

    @property
    def logs(self) -> list[Path]:
        """What the two syncers have said."""
        return [self.folder / f"sync{number}.log" for number in (1, 2)]

    def stop(self) -> None:
        """Let everybody come to an end, the syncers by SIGTERM."""
        if not self.syncers:
            return
        self._load.send_signal(signal.SIGTERM)
        self._reader.join(120)
        self._load.kill()
        self._reader.join()
        for syncer in self.syncers:
            syncer.stop()
        self.written, said = self._said
        assert self._load.returncode == 0, f"load generator: {said[-2000:]}"

    def _listen(self) -> None:
        self._said[:] = self._load.communicate()

    def exit_codes(self) -> Counter[int]:
        """How often a syncer has ended with which code."""
        return Counter(code for syncer in self.syncers for code in syncer.exit_codes)

    # -- the end ----------------------------------------------------------------------------

    def drain(self) -> None:
        """Let one syncer without proxies catch up."""
        if isinstance(self.postgres, Server) and isinstance(self.polled, Server):
            self.polled.caught_up_with(self.postgres)
        drained = subprocess.run(
            sync("--once"), env={**self.environment, "POSTGRES_CONFIG": self.polled_dsn},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert drained.returncode == 0, drained.stderr[-3000:]

    def compare(self) -> dict[str, Any]:
        """The verdict of consistency-check.py."""
        tables = [argument for table in TABLES for argument in ("--table", table)]
        done = subprocess.run(
            script("consistency-check.py", *tables, "--json"),
            env=self.environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stderr[-3000:]
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["equal"] == (done.returncode == 0)
        return found


def sync(*arguments: str) -> list[str]:
    """The demo's syncer, which does not kill itself: who dies when is up to the schedule."""
    return script("sync.py", "--no-crash", "--tables", ",".join(TABLES), *arguments)


def script(*arguments: str) -> list[str]:
    """A program of the top level, with this Python."""
    return [sys.executable, str(ROOT / arguments[0]), *arguments[1:]]


def apply_schema(environment: dict[str, str]) -> None:
    """Make the demo tables."""
    subprocess.run(
        ["psql", "-q", "-X", "-d", environment["POSTGRES_CONFIG"], "-f",
         str(ROOT / "apply-schema.sql")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
