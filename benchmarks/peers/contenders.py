"""The contenders: how each is prepared and started, at its own default settings."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.peers.rows import MAPPING, TABLE
from benchmarks.peers.site import Site, until
from benchmarks.world import toml
from txid_sync import schema
from txid_sync.dev.processes import ServerError, clean_environment

ROOT = Path(__file__).parents[2]
INDEX = "goods-index"
POLLER = Path(__file__).with_name("poller.py")
POLL_SECONDS = 0.25  # txid-sync: at most 0.3; Logstash's schedules are a second at best
BOOTSTRAP_SECONDS = 120.0
ACTIVE_SLOTS = (
    "select count(*) from pg_replication_slots where database = current_database() and active"
)
DROP_SLOTS = (
    "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
    " where database = current_database() and not active"
)
SLOTS = "select count(*) from pg_replication_slots where database = current_database()"


class Contender(ABC):
    """One program, with a database and a folder of its own."""

    name: str

    def __init__(self, site: Site, database: str, folder: Path) -> None:
        self.site, self.database, self.folder = site, database, folder

    @abstractmethod
    def prepare(self) -> None:
        """Whatever is done once before it runs, with the table there."""

    @abstractmethod
    def command(self) -> list[str]:
        """What runs until it is ended."""

    def environment(self) -> Mapping[str, str]:
        """Settings of the process."""
        return clean_environment()

    def forget(self) -> None:  # noqa: B027  (most leave nothing behind)
        """Remove what it left outside its database and the index."""


class TxidSync(Contender):
    """`txid-sync run`."""

    name = "txid-sync"

    def prepare(self) -> None:
        """Schema, triggers, configuration."""
        with closing(self.site.postgres.connect(self.database)) as admin:
            schema.install(admin)
            schema.track(admin, f"public.{TABLE}")
        source = {"dsn": self.site.postgres.dsn(self.database)}
        settings = {"source": source, "sink": {"url": self.site.search.url}}
        # What it makes for itself, from the columns, would outdo the template of all contenders.
        document = {"table": f"public.{TABLE}", "index": INDEX, "mapping": MAPPING}
        (self.folder / "txid-sync.toml").write_text(toml(settings, [document]))

    def command(self) -> list[str]:
        """With the Python that runs this."""
        file = str(self.folder / "txid-sync.toml")
        return [sys.executable, "-m", "txid_sync", "run", "-c", file]

    def environment(self) -> Mapping[str, str]:
        """This source tree, wherever the process runs."""
        return {**clean_environment(), "PYTHONPATH": str(ROOT)}


class PgSync(Contender):
    """`pgsync --daemon`: triggers that notify, a queue in Redis, and a slot for the catch-up."""

    name = "PGSync"

    def prepare(self) -> None:
        """Its own bootstrap: triggers, a view, a slot."""
        self._configure()
        self._run("bootstrap")

    def command(self) -> list[str]:
        """Run by the environment's Python: the scripts' first lines know where it was made."""
        return [*self._program("pgsync"), "--daemon"]

    def environment(self) -> Mapping[str, str]:
        """Where the servers are; all else is left as it comes, but for the level of the log."""
        return {
            **clean_environment(),
            "PG_HOST": "127.0.0.1", "PG_PORT": str(self.site.postgres.port),
            "PG_USER": "postgres", "PG_DATABASE": self.database,
            "ELASTICSEARCH_URL": self.site.search.url,
            "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.site.redis.port),
            "CONSOLE_LOGGING_HANDLER_MIN_LEVEL": "ERROR", "GENERAL_LOGGING_LEVEL": "ERROR",
        }  # fmt: skip

    def forget(self) -> None:
        """Slot and queue: a database with a slot cannot be dropped."""
        with closing(self.site.postgres.connect(self.database)) as admin, admin.cursor() as cursor:
            assert until(lambda: _dropped(cursor)), "a replication slot is used for ever"
        self.site.redis.empty()

    def _configure(self) -> None:
        self.site.redis.empty()
        node = {"table": TABLE, "schema": "public"}
        (self.folder / "schema.json").write_text(
            json.dumps([{"database": self.database, "index": INDEX, "nodes": node}])
        )

    def _program(self, name: str) -> list[str]:
        place = self.site.pgsync / "bin"
        return [str(place / "python"), str(place / name), "-c", str(self.folder / "schema.json")]

    def _run(self, name: str) -> None:
        done = subprocess.run(
            self._program(name), cwd=self.folder, env=self.environment(), check=False, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode:
            raise ServerError(f"PGSync's {name} failed", done.stdout[-2000:])


class PgSyncWal(PgSync):
    """`pgsync --wal`: no triggers and no queue, but the slot's stream; it does not load."""

    name = "PGSync --wal"

    def prepare(self) -> None:
        """A slot, made by its first start; then the rows that are there, by a run that ends."""
        self._configure()
        first = subprocess.Popen(
            [*self._program("pgsync"), "--wal", "--bootstrap"], cwd=self.folder,
            env=dict(self.environment()), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with closing(self.site.postgres.connect(self.database)) as admin, admin.cursor() as cursor:
            limit = time.monotonic() + BOOTSTRAP_SECONDS
            while not _active(cursor) and time.monotonic() < limit:
                time.sleep(0.1)
            first.kill()
            first.wait()
            while _active(cursor) and time.monotonic() < limit:
                time.sleep(0.1)
        self._run("pgsync")

    def command(self) -> list[str]:
        """Only the stream."""
        return [*self._program("pgsync"), "--wal"]


def _dropped(cursor: Any) -> bool:
    """Drop slots; one stays while the server still works for a program that has ended."""
    cursor.execute(DROP_SLOTS)
    cursor.execute(SLOTS)
    return bool(cursor.fetchone() == (0,))


def _active(cursor: Any) -> bool:
    """Whether somebody reads the slot of this database."""
    cursor.execute(ACTIVE_SLOTS)
    return bool(cursor.fetchone()[0])


class Poller(Contender):
    """Rows with a newer timestamp, as Logstash's jdbc input asks for them."""

    name = "poller"

    def prepare(self) -> None:
        """An index on the column that all tables have."""
        with closing(self.site.postgres.connect(self.database)) as admin, admin.cursor() as cursor:
            cursor.execute(f"create index on {TABLE} (updated)")

    def command(self) -> list[str]:
        """In PGSync's environment, for its client."""
        dsn, url = self.site.postgres.dsn(self.database), self.site.search.url
        state = str(self.folder / "state")
        python = str(self.site.pgsync / "bin" / "python")
        return [python, str(POLLER), dsn, url, INDEX, TABLE, state, str(POLL_SECONDS)]


ALL: tuple[type[Contender], ...] = (TxidSync, PgSync, PgSyncWal, Poller)
LOADERS = (TxidSync, PgSync, Poller)
