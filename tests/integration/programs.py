"""The program itself between servers that come and go and the session's search engine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.standbys import PATIENCE_SECONDS, Server

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
[pipeline]
name = "{prefix}p"
save_interval_seconds = 0.1
marker_interval_seconds = 0.1
[sink]
url = "{url}"
progress_index = "{prefix}progress"
dead_letter_index = "{prefix}dead"
[[document]]
table = "public.t"
index = "{prefix}t"
"""


class Program:
    """`txid-sync` with one document, the table `t` of whichever server is named."""

    def __init__(self, url: str, prefix: str, folder: Path) -> None:
        self._index, self._config = f"{url}/{prefix}t", folder / "program.toml"
        self._config.write_text(CONFIG.format(url=url, prefix=prefix))

    def command(self, dsn: str, *arguments: str) -> list[str]:
        """A command line on a server."""
        config = ["-c", str(self._config), "-s", f"source.dsn={dsn}"]
        return [sys.executable, "-m", "txid_sync", *arguments, *config]

    def run(self, dsn: str, *arguments: str) -> str:
        """Run a command, which succeeds; what it prints."""
        done = subprocess.run(
            self.command(dsn, *arguments), cwd=ROOT, env=_environment(), check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    @contextlib.contextmanager
    def running(self, dsn: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """The same in the background, killed in the end if it still runs."""
        with (self._config.parent / "log").open("ab") as log:
            process = subprocess.Popen(
                self.command(dsn, *arguments), cwd=ROOT, env=_environment(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def documents(self) -> dict[str, Any]:
        """What the index holds, by id; nothing if it is not there yet."""
        ask = urllib.request.Request(f"{self._index}/_refresh", method="POST")
        try:
            urllib.request.urlopen(ask).close()
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return {}
        with urllib.request.urlopen(f"{self._index}/_search?size=1000") as answer:
            hits = json.load(answer)["hits"]["hits"]
        return {hit["_id"]: hit["_source"] for hit in hits}

    def said(self) -> str:
        """What ran in the background has said."""
        return (self._config.parent / "log").read_text()

    def status(self, dsn: str) -> dict[str, Any]:
        """What `status` says."""
        told: dict[str, Any] = json.loads(self.run(dsn, "status", "--json"))
        return told

    def ends_equal(self, server: Server, dsn: str, *arguments: str) -> None:
        """Run until nothing is left: index and table are equal, and `verify` agrees."""
        self.run(dsn, "run", "--once", *arguments)
        assert self.documents() == server.rows()
        found = json.loads(self.run(dsn, "verify", "--json"))
        assert (found["equal"], found["unsettled"]) == (True, 0), found


@pytest.fixture
def program(elasticsearch_url: str, index_prefix: str, tmp_path: Path) -> Program:
    """The program with indices of this test's own."""
    return Program(elasticsearch_url, index_prefix, tmp_path)


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("TXID_SYNC")}
