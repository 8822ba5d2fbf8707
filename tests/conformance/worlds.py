"""The same small world over every kind of source: tables by key, transactions, a source.

Table `one` has the key (id), table `two` the key (x, y), both of texts, and a text column `v`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from tests.integration import streams
from txid_sync.model import Document
from txid_sync.share import WHOLE, Share
from txid_sync.sources.base import Source
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.memory_database import Key, MemoryDatabase, Session
from txid_sync.sources.memory_wal import Table
from txid_sync.sources.postgres import PostgresSource

KEYS = {"one": ("id",), "two": ("x", "y")}


class Transaction(Protocol):
    """An open transaction; every call is one statement."""

    def put(self, table: str, keys: Sequence[Key], v: str) -> None:
        """Insert or update rows."""

    def remove(self, table: str, keys: Sequence[Key]) -> None:
        """Delete rows."""

    def truncate(self, table: str) -> None:
        """Empty a table."""

    def commit(self) -> None:
        """Commit."""

    def rollback(self) -> None:
        """Roll back."""


class World(Protocol):
    """A database with both tables tracked."""

    def source(self, share: Share = WHOLE) -> Source:
        """A connected source over both tables, documents `one` and `two`."""

    def begin(self) -> Transaction:
        """A transaction on a connection of its own."""

    def analyze(self) -> None:
        """Bring statistics up to date."""

    def close(self) -> None:
        """Let go of everything."""


class MemoryTransaction:
    """A transaction of the database in memory."""

    def __init__(self, session: Session) -> None:
        self.session = session
        session.begin()

    def put(self, table: str, keys: Sequence[Key], v: str) -> None:
        """Insert or update rows."""
        self.session.write(table, {key: _json(table, key, v) for key in keys})

    def remove(self, table: str, keys: Sequence[Key]) -> None:
        """Delete rows."""
        self.session.delete(table, *keys)

    def truncate(self, table: str) -> None:
        """Empty a table."""
        self.session.truncate(table)

    def commit(self) -> None:
        """Commit."""
        self.session.commit()

    def rollback(self) -> None:
        """Roll back."""
        self.session.abort()


class MemoryWorld:
    """Over the database in memory."""

    def __init__(self) -> None:
        self.database = MemoryDatabase(*(Table(name, key=key) for name, key in KEYS.items()))

    def source(self, share: Share = WHOLE) -> Source:
        """A connected source over both tables."""
        documents = [Document(name, name) for name in KEYS]
        source = MemorySource(self.database, documents, share=share)
        source.connect()
        return source

    def begin(self) -> Transaction:
        """A transaction on a connection of its own."""
        return MemoryTransaction(self.database.connect())

    def analyze(self) -> None:
        """They always are."""

    def close(self) -> None:
        """Nothing to let go of."""


class PostgresTransaction:
    """A transaction of PostgreSQL."""

    def __init__(self, connection: streams.Connection) -> None:
        self.connection = connection

    def put(self, table: str, keys: Sequence[Key], v: str) -> None:
        """Insert or update rows."""
        rows = ", ".join([f"({', '.join(['%s'] * (len(KEYS[table]) + 1))})"] * len(keys))
        columns = ", ".join(KEYS[table])
        values = [value for key in keys for value in (*key, v)]
        self._run(
            f"insert into public.{table} values {rows}"
            f" on conflict ({columns}) do update set v = excluded.v",
            *values,
        )

    def remove(self, table: str, keys: Sequence[Key]) -> None:
        """Delete rows."""
        columns = ", ".join(KEYS[table])
        rows = ", ".join([f"({', '.join(['%s'] * len(KEYS[table]))})"] * len(keys))
        values = [value for key in keys for value in key]
        self._run(f"delete from public.{table} where ({columns}) in ({rows})", *values)

    def truncate(self, table: str) -> None:
        """Empty a table."""
        self._run(f"truncate public.{table}")

    def commit(self) -> None:
        """Commit."""
        self.connection.commit()

    def rollback(self) -> None:
        """Roll back."""
        self.connection.rollback()

    def _run(self, statement: str, *values: str) -> None:
        streams.execute(self.connection, statement, *values)


class PostgresWorld:
    """Over a real server."""

    def __init__(self, database: Any) -> None:
        self.world = streams.World(database)
        for table, key in KEYS.items():
            columns = ", ".join(f'{name} text collate "C"' for name in key)
            self.world.run(
                f"create table public.{table} ({columns}, v text, primary key ({', '.join(key)}))"
            )
            self.world.track(f"public.{table}")

    def source(self, share: Share = WHOLE) -> PostgresSource:
        """A connected source over both tables."""
        documents = [Document(f"public.{name}", name) for name in KEYS]
        return self.world.source(*documents, share=share)

    def begin(self) -> Transaction:
        """A transaction on a connection of its own."""
        return PostgresTransaction(self.world.session())

    def analyze(self) -> None:
        """Bring statistics up to date."""
        self.world.run("analyze")

    def close(self) -> None:
        """Close every connection."""
        self.world.close()


def _json(table: str, key: Key, v: str) -> str:
    row = {**dict(zip(KEYS[table], key, strict=True)), "v": v}
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
