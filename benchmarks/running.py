"""Runs pipelines: in this process until all is acknowledged, or as the program of users."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg2 import sql

from benchmarks.report import ROOT
from benchmarks.usage import seconds_of
from benchmarks.world import LEAN_MAPPING, Database, World, toml
from txid_sync.compare import compare
from txid_sync.config import read
from txid_sync.pipeline import Pipeline
from txid_sync.settings import Config
from txid_sync.wiring import assemble, elasticsearch_settings

PATIENCE_SECONDS = 900.0
END_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """A configuration file: one pipeline, its tables, and the indices `<pipeline>-<table>`."""

    file: Path
    name: str
    tables: tuple[str, ...]

    @property
    def config(self) -> Config:
        """As the program reads it."""
        return read(str(self.file), {})

    @property
    def index(self) -> str:
        """Of the first table."""
        return f"{self.name}-{self.tables[0]}"


@contextmanager
def place(
    world: World,
    database: Database,
    name: str,
    tables: Sequence[str],
    lean: bool = True,
    sink: str = "elasticsearch",
    **pipeline: object,
) -> Iterator[Place]:
    """A pipeline's configuration; `lean`: most fields are kept and not indexed."""
    settings = {
        "pipeline": {"name": name, **pipeline},
        "source": {"dsn": database.dsn},
        "sink": {"type": sink, "url": world.url, "progress_index": f"{name}-progress"},
    }
    documents: list[dict[str, Any]] = [
        {"table": table, "index": f"{name}-{table}", **({"mapping": LEAN_MAPPING} if lean else {})}
        for table in tables
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "txid-sync.toml"
        file.write_text(toml(settings, documents))
        yield Place(file, name, tuple(tables))


def drive(where: Place, timed: Callable[[Callable[[], None]], Any] = seconds_of) -> Any:
    """Run a pipeline here until the sink has all; `timed` is given the work after the start."""
    with assemble(where.config) as assembly:
        assembly.pipeline.start()
        return timed(lambda: finish(assembly.pipeline))


def finish(pipeline: Pipeline) -> None:
    """Step until everything is acknowledged, and save progress."""
    while pipeline.step() or pipeline.status().phase != "sync":
        pass
    pipeline.stop()


def check_equal(where: Place) -> None:
    """Compare every row with its document; a benchmark that fails this does not count."""
    config = where.config
    assert config.sink is not None
    settings = elasticsearch_settings(config.sink)
    for found in compare(config.source.dsn, settings, config.documents):
        assert found.equal, f"the sink differs: {found}"
        assert not found.dead_letters, f"dead letters: {found}"


def count(world: World, index: str) -> int:
    """How many documents an index holds."""
    world.search.request("POST", f"/{index}/_refresh")
    return int(world.search.request("GET", f"/{index}/_count")["count"])


def clean_environment() -> dict[str, str]:
    """Without settings of ours."""
    return {k: v for k, v in os.environ.items() if not k.startswith("TXID_SYNC")}


def command(where: Place, *arguments: str) -> list[str]:
    """The program with a configuration."""
    return [sys.executable, "-m", "txid_sync", "run", "-c", str(where.file), *arguments]


@contextmanager
def running(where: Place) -> Iterator[subprocess.Popen[bytes]]:
    """`txid-sync run` as a process of its own; it is ended in good order."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command(where), cwd=ROOT, env=clean_environment(), stdin=subprocess.DEVNULL,
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            code = process.wait(END_SECONDS)
            log.seek(0)
            assert code == 0, log.read()[-2000:].decode(errors="replace")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def touch(world: World, database: Database, where: Place) -> Callable[[], bool]:
    """Change a row; whether that has arrived in the first table's index."""
    database.run("update {} set customer = customer + 1 where id = 1", table=where.tables[0])
    query = sql.SQL("select customer from {} where id = 1")
    wanted = database.value(query.format(sql.Identifier(where.tables[0])))

    def arrived() -> bool:
        found = world.document(where.index, 1)
        return found is not None and found["customer"] == wanted

    return arrived


def until(condition: Callable[[], bool], pause_seconds: float = 0.01) -> None:
    """Wait for a condition."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(pause_seconds)
