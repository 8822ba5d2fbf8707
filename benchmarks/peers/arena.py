"""A fresh database, index and folder for one contender, its process, and the comparison."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg2.extensions import connection

from benchmarks.peers import rows
from benchmarks.peers.contenders import INDEX, Contender
from benchmarks.peers.differences import Differences, differences
from benchmarks.peers.site import PATIENCE_SECONDS, Site, until
from txid_sync.dev.processes import ServerError

END_SECONDS = 30.0
RESTART_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Arena:
    """One contender with its rows."""

    site: Site
    contender: Contender
    admin: connection

    def value(self, statement: str, *values: object) -> tuple[Any, ...]:
        """The first row of a query."""
        with self.admin.cursor() as cursor:
            cursor.execute(statement, values or None)
            row = cursor.fetchone()
        assert row is not None
        return tuple(row)

    def run(self, statement: str, *values: object) -> None:
        """Run a statement."""
        with self.admin.cursor() as cursor:
            cursor.execute(statement, values or None)

    def table(self, name: str, size: int) -> None:
        """Make and fill one."""
        self.run(rows.CREATE.format(name))
        self.run(rows.FILL.format(name), size)
        self.run(f"vacuum analyze {name}")

    def singles(self, changes: int, size: int) -> None:
        """Change rows one to size in turn, each in a transaction of its own."""
        self.run("set synchronous_commit = off")
        self.run("call singles(%s, %s)", changes, size)
        self.run("set synchronous_commit = on")
        self.run("checkpoint")

    def configure(self, **settings: object) -> None:
        """Change settings of PostgreSQL that need no restart."""
        for name, value in settings.items():
            self.run(f"alter system set {name} = %s", value)
        self.run("select pg_reload_conf()")
        time.sleep(0.5)

    def equal(self) -> bool:
        """Whether the index has as many rows and as many revisions as the table."""
        return self.site.totals(INDEX) == tuple(map(int, self.value(rows.TOTALS)))

    def until_equal(self, patience_seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait for that."""
        return until(self.equal, patience_seconds)

    def in_step(self) -> bool:
        """Wait until a change made now, and all before it, are in the index."""
        self.run(rows.CHANGE, 1)
        return self.until_equal()

    def differences(self) -> Differences:
        """What differs, row by row."""
        with self.admin.cursor() as cursor:
            cursor.execute(rows.REVISIONS)
            table = dict(cursor.fetchall())
        return differences(table, self.site.revisions(INDEX))

    def differences_in_the_end(self, patience_seconds: float) -> Differences:
        """What still differs after some waiting."""
        self.until_equal(patience_seconds)
        return self.differences()

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Its process, ended by SIGTERM."""
        process = self.start()
        with self.watched(process):
            yield process

    @contextmanager
    def watched(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """A process that must live as long as the block, and no longer."""
        try:
            yield
        finally:
            ended = process.poll() is not None
            stop(process)
            if ended:
                log = (self.contender.folder / "log").read_text(errors="replace")
                raise ServerError(f"{self.contender.name} has ended", log[-2000:])

    def start(self) -> subprocess.Popen[bytes]:
        """A process of the contender; what it says goes to a file."""
        with (self.contender.folder / "log").open("ab") as log:
            return subprocess.Popen(
                self.contender.command(), cwd=self.contender.folder,
                env=dict(self.contender.environment()), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log,
            )  # fmt: skip

    @contextmanager
    def kept_running(self) -> Iterator[Keeper]:
        """Its process, started again whenever it ends, as a service manager does."""
        keeper = Keeper(self)
        keeper.start()
        try:
            yield keeper
        finally:
            keeper.end()


class Keeper(threading.Thread):
    """Starts a contender again whenever it has ended."""

    def __init__(self, arena: Arena) -> None:
        super().__init__(daemon=True)
        self._arena = arena
        self._over = threading.Event()
        self._process = arena.start()
        self.starts = 1

    def run(self) -> None:
        """Watch until told to end."""
        while not self._over.wait(RESTART_SECONDS):
            if self._process.poll() is not None:
                self._process = self._arena.start()
                self.starts += 1

    def kill9(self) -> None:
        """End the process at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def end(self) -> None:
        """No more starts."""
        self._over.set()
        self.join()
        stop(self._process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL."""
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def arena(site: Site, kind: type[Contender], size: int) -> Iterator[Arena]:
    """A database with `size` rows, prepared for the contender; in the end nothing is left."""
    database = "peers_" + re.sub("[^a-z]+", "_", kind.name.lower())
    site.search.delete_indices("")
    site.postgres.createdb(database)
    with tempfile.TemporaryDirectory() as folder:
        contender = kind(site, database, Path(folder))
        try:
            with closing(site.postgres.connect(database)) as admin:
                made = Arena(site, contender, admin)
                made.run(rows.SINGLES)
                made.table(rows.TABLE, size)
                contender.prepare()
                made.run("checkpoint")
                time.sleep(0.5)
                yield made
        finally:
            contender.forget()
            site.postgres.dropdb(database)
