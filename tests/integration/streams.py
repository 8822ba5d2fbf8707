"""Helpers of the source's tests: a tracked database, and walking its stream by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2.extensions

from txid_sync import schema
from txid_sync.cursor import Cursor
from txid_sync.model import Document, Limits, Page
from txid_sync.share import WHOLE, Share
from txid_sync.sources.postgres import PostgresSource

Connection = psycopg2.extensions.connection


@dataclass(frozen=True, slots=True)
class Action:
    """One action of a bulk body: the id, the version, and the document (None: a delete)."""

    id: str
    version: int
    document: Any


def actions(page: Page) -> list[Action]:
    """The actions in a page's body."""
    lines = iter(page.body.decode().splitlines())
    found = []
    for line in lines:
        ((kind, head),) = json.loads(line).items()
        assert head["version_type"] == "external_gte"
        document = json.loads(next(lines)) if kind == "index" else None
        found.append(Action(head["_id"], head["version"], document))
    assert len(found) == page.documents
    return found


def drain(
    source: PostgresSource, cursor: Cursor, size: int = 2
) -> tuple[Cursor, list[Action], list[Page]]:
    """Read and acknowledge everything that is new, `size` keys at a time."""
    all_actions: list[Action] = []
    pages: list[Page] = []
    while (reading := source.poll(cursor, 1, Limits(documents=size))).page is not None:
        page = reading.page.page
        while not page.ready():
            pass
        all_actions += actions(page)
        pages.append(page)
        cursor = reading.page.next
        assert len(pages) < 10_000, "the stream does not end"
    return cursor, all_actions, pages


def state(all_actions: Sequence[Action], into: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a sink holds after these actions: the highest version of each id wins."""
    versions: dict[str, int] = {}
    found = {} if into is None else into
    for action in all_actions:
        if action.version < versions.get(action.id, 0):
            continue
        versions[action.id] = action.version
        if action.document is None:
            found.pop(action.id, None)
        else:
            found[action.id] = action.document
    return found


class World:
    """A fresh database with our schema installed, its tables tracked, and a source on it."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self.admin: Connection = database.connect()
        self.admin.autocommit = True
        self._connections: list[Connection] = [self.admin]
        self._sources: list[PostgresSource] = []
        schema.install(self.admin)

    def run(self, statement: str, *parameters: Any) -> None:
        """Run a statement of its own transaction."""
        with self.admin.cursor() as cursor:
            cursor.execute(statement, parameters or None)

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self.admin.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall())

    def track(self, table: str, capture: str | None = None) -> None:
        """Track a table."""
        schema.track(self.admin, table, capture)

    def session(self) -> Connection:
        """Another connection, in explicit transactions."""
        connection: Connection = self.database.connect()
        connection.autocommit = False
        self._connections.append(connection)
        return connection

    def source(self, *documents: Document, share: Share = WHOLE) -> PostgresSource:
        """A source over these documents."""
        source = PostgresSource(self.database.dsn, documents, share)
        self._sources.append(source)
        source.connect()
        return source

    def close(self) -> None:
        """Close every connection that was made here."""
        for source in self._sources:
            source.close()
        for connection in self._connections:
            connection.close()


@contextmanager
def world_of(database: Any) -> Iterator[World]:
    """A World that is closed at the end."""
    world = World(database)
    try:
        yield world
    finally:
        world.close()


def execute(connection: Connection, statement: str, *parameters: Any) -> None:
    """Run a statement inside the connection's open transaction."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


@contextmanager
def two_tables(database: Any) -> Iterator[World]:
    """A world with two tracked tables public.t and public.u, of a number as key and another."""
    with world_of(database) as world:
        for name in ("t", "u"):
            world.run(f"create table public.{name} (id int primary key, v int)")
            world.track(f"public.{name}")
        yield world
