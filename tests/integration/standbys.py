"""Real primaries with real standbys, writers on them, and a syncer that can be killed and moved.

The programs are those of the distribution, which has pg_basebackup.  The sink and the progress are
in memory and outlive every syncer, so that a test sees each version that ever arrived.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection

from tests.support import eventually
from txid_sync import schema
from txid_sync.dev import PostgresServer
from txid_sync.dev.postgres import setting_line
from txid_sync.dev.processes import clean_environment
from txid_sync.errors import Unavailable
from txid_sync.model import Document, Limits, Page
from txid_sync.pipeline import Pipeline, PipelineOptions
from txid_sync.progress.memory import MemoryProgress
from txid_sync.sinks.memory import MemorySink
from txid_sync.sources.postgres import PostgresSource

DATABASE = "app"
ROWS = 60
PATIENCE_SECONDS = 120.0


class Server(PostgresServer):
    """A server of the distribution; `of` makes it a standby of another one."""

    def __init__(self, of: Server | None = None, **settings: object) -> None:
        super().__init__(system=True)
        self._settings = {**self._settings, "wal_keep_size": "256MB", **settings}
        self._upstream = of

    def _initialize(self) -> None:
        if self._upstream is None:
            super()._initialize()
            return
        for place in (self.data, self.folder / "socket"):
            place.mkdir(mode=0o700)
            if self._user is not None:
                os.chown(place, self._user.pw_uid, self._user.pw_gid)
        self.program(
            "pg_basebackup", "-D", str(self.data), "-R", "-X", "stream", "-c", "fast",
            "--no-sync", "-d", self._upstream.dsn(),
        )  # fmt: skip
        self.configure(**self._settings)

    def configure(self, **settings: object) -> None:
        """Append settings; they count from the next start, or `reload`."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(setting_line(*item) for item in settings.items())

    def reload(self) -> None:
        """Let the running server read its settings again."""
        self.ask("select pg_reload_conf()", dbname="postgres")

    def program(self, name: str, *arguments: str, folder: Path | None = None) -> str:
        """Run one of the server's programs as the server's user; its output."""
        done = subprocess.run(
            [str(self.bin / name), *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            cwd=folder or self.folder, env=clean_environment(),
            user=self._user.pw_uid if self._user else None,
            group=self._user.pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(
        self, statement: str, *parameters: Any, dbname: str = DATABASE
    ) -> list[tuple[Any, ...]]:
        """Run a statement on a connection of its own; its rows, if it has any."""
        with contextlib.closing(self.connect(dbname)) as session, session.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def rows(self) -> dict[str, Any]:
        """The rows of the synced table, by id."""
        return {row[0]: row[1] for row in self.ask("select id::text, row_to_json(t.*) from t")}

    def promote(self) -> None:
        """End the recovery, and wait until it has ended."""
        self.ask("select pg_promote(true, 60)", dbname="postgres")

    def cut_off(self) -> None:
        """Receive nothing any more."""
        self.ask("alter system set primary_conninfo = ''", dbname="postgres")
        self.reload()
        eventually(lambda: not self.receives(), PATIENCE_SECONDS)

    def joined_again(self, upstream: Server) -> None:
        """Receive again, after `cut_off`."""
        conninfo = upstream.dsn().replace("'", "''")
        self.ask(f"alter system set primary_conninfo = '{conninfo}'", dbname="postgres")
        self.reload()
        eventually(self.receives, PATIENCE_SECONDS)

    def receives(self) -> bool:
        """Whether its WAL receiver runs."""
        return self.ask("select count(*) from pg_stat_wal_receiver") == [(1,)]

    def caught_up_with(self, upstream: Server) -> None:
        """Wait until this standby has replayed what the other server has."""
        recovering, *_ = upstream.ask("select pg_is_in_recovery()", dbname="postgres")[0]
        place = "pg_last_wal_replay_lsn()" if recovering else "pg_current_wal_insert_lsn()"
        (lsn,) = upstream.ask(f"select {place}", dbname="postgres")[0]
        replayed = "select pg_last_wal_replay_lsn() >= %s"
        eventually(lambda: self.ask(replayed, lsn, dbname="postgres")[0][0], PATIENCE_SECONDS)


def prepare(server: Server, rows: int = ROWS) -> None:
    """The database with the tracked table `t`."""
    server.createdb(DATABASE)
    with contextlib.closing(server.connect(DATABASE)) as admin, admin.cursor() as cursor:
        cursor.execute("create table public.t (id int primary key, n int not null, who text)")
        schema.install(admin)
        schema.track(admin, "public.t")
        cursor.execute("insert into t select n, 0, '' from generate_series(1, %s) n", (rows,))


@contextlib.contextmanager
def pair(**settings: object) -> Iterator[tuple[Server, Server]]:
    """A primary with the table, and its standby."""
    with Server() as primary:
        prepare(primary)
        with Server(primary, **settings) as standby:
            yield primary, standby


def both(one: Server, other: Server, user: str = "postgres") -> str:
    """Connect to whichever of two servers takes writes."""
    return psycopg2.extensions.make_dsn(
        host="127.0.0.1,127.0.0.1", port=f"{one.port},{other.port}", dbname=DATABASE,
        user=user, target_session_attrs="read-write", connect_timeout=5,
    )  # fmt: skip


class Sync:
    """A syncer over a sink and progress that outlive it; it marks if it is told to."""

    def __init__(self, dsn: str, size: int = 5) -> None:
        self.dsn, self.size = dsn, size
        self.sink, self.store = MemorySink(), MemoryProgress()
        self.pages: list[Page] = []
        self.before_page: Callable[[], None] = lambda: None
        self.marks = False
        self.source = PostgresSource(dsn, [])
        self.pipeline = self._assemble()

    def _failpoint(self, name: str) -> None:
        if name == "page-read":
            self.before_page()

    def _assemble(self) -> Pipeline:
        self.source.close()
        documents = [Document("public.t", "t")]
        self.source = PostgresSource(self.dsn, documents)
        options = PipelineOptions(
            limits=Limits(documents=self.size), save_interval_seconds=0.0, brake_off=True,
            catalog_interval_seconds=0.5, marker_interval_seconds=0.001 if self.marks else 0.0,
        )  # fmt: skip
        return Pipeline(
            "p", self.source, self.sink, self.store, documents, options, self._failpoint
        )

    def restart(self, dsn: str = "") -> None:
        """Another process, perhaps with another connection string."""
        self.dsn = dsn or self.dsn
        self.pipeline = self._assemble()

    def step(self) -> bool:
        """One step; an outage is waited for, as the daemon does."""
        try:
            if not self.pipeline.started:
                self.pipeline.start()
            return self.pipeline.step()
        except Unavailable:
            self.recover()
            return True

    def recover(self) -> None:
        """Come back after an outage, however long it lasts."""

        def back() -> bool:
            try:
                self.pipeline.recover()
            except Unavailable:
                return False
            return True

        eventually(back, PATIENCE_SECONDS, 0.1)

    def drain(self) -> None:
        """Step until nothing is left."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.step():
            assert time.monotonic() < deadline, "it never comes to rest"

    def documents(self) -> dict[str, Any]:
        """What the sink holds, by id."""
        return {id: json.loads(body) for id, body in self.sink.documents("t").items()}

    def ends_equal(self, server: Server) -> None:
        """Drain, and see that the sink holds exactly the rows of the server."""

        def equal() -> bool:
            self.drain()
            assert self.documents() == server.rows()
            return True

        eventually(equal, PATIENCE_SECONDS, 0.2)

    @property
    def epoch(self) -> int:
        """The epoch of the progress."""
        return self.pipeline.progress.epoch

    def close(self) -> None:
        """Let go of the source."""
        self.source.close()


@contextlib.contextmanager
def syncing(server: Server, size: int = 5, **more: str) -> Iterator[Sync]:
    """A syncer on a server's database."""
    sync = Sync(psycopg2.extensions.make_dsn(server.dsn(DATABASE), **more), size)
    try:
        yield sync
    finally:
        sync.close()


def work(sync: Sync, seconds: float) -> bool:
    """Step for a while; always False."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not sync.step():
            time.sleep(0.005)
    return False


class Writer(threading.Thread):
    """Random transactions: many savepoints, rollbacks, pauses, two-phase commits, deletes."""

    def __init__(self, server: Server, number: int, stop: threading.Event) -> None:
        super().__init__(name=f"writer-{number}")
        self.random = random.Random(number)
        self.server, self.number, self.stop = server, number, stop
        self.committed = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        """Write until told to stop, or until the server goes away."""
        try:
            with contextlib.closing(self.server.connect(DATABASE)) as session:
                while not self.stop.is_set():
                    self._transaction(session)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            return  # the server was killed
        except Exception as error:  # noqa: BLE001  shown by `writing`
            self.failure = error

    def _transaction(self, session: connection) -> None:
        choose = self.random
        with session.cursor() as cursor:
            cursor.execute("begin")
            try:
                for _ in range(choose.choice((1, 1, 2, 5))):
                    self._statement(cursor)
                if choose.random() < 0.1:
                    for n in range(80):
                        cursor.execute(f"savepoint s{n}")
                        self._statement(cursor)
                if choose.random() < 0.1:
                    time.sleep(choose.random() / 2)
                self._end(cursor)
            except (psycopg2.errors.DeadlockDetected, psycopg2.errors.LockNotAvailable):
                cursor.execute("rollback")

    def _statement(self, cursor: Any) -> None:
        key, who = self.random.randint(1, ROWS), f"w{self.number}"
        cursor.execute("set local lock_timeout = '2s'")
        if self.random.random() < 0.1:
            cursor.execute("delete from t where id = %s", (key,))
        else:
            cursor.execute(
                "insert into t values (%s, 1, %s) on conflict (id) do update "
                "set n = t.n + 1, who = excluded.who", (key, who),
            )  # fmt: skip

    def _end(self, cursor: Any) -> None:
        end = self.random.random()
        if end < 0.15:
            cursor.execute("rollback")
        elif end < 0.25:
            name = f"w{self.number}-{self.committed}"
            cursor.execute("prepare transaction %s", (name,))
            time.sleep(self.random.random() / 5)
            cursor.execute("commit prepared %s", (name,))
        else:
            cursor.execute("commit")
        self.committed += 1


@contextlib.contextmanager
def writing(server: Server, writers: int = 3) -> Iterator[list[Writer]]:
    """Writers at work; they have ended afterwards, and nothing is left prepared."""
    stop = threading.Event()
    threads = [Writer(server, number, stop) for number in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    assert [thread.failure for thread in threads] == [None] * len(threads)


def finish_prepared(server: Server) -> None:
    """Commit whatever a killed writer has left prepared."""
    for (name,) in server.ask("select gid from pg_prepared_xacts"):
        server.ask("commit prepared %s", name)


def identity_of(sync: Sync) -> Mapping[str, str]:
    """The identity in the progress."""
    return sync.pipeline.progress.identity
