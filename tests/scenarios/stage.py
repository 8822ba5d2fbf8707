"""A stage for the scenarios: a real database, a real index, txid-sync between them, step by step.

`stage.table(...)` makes a table, `stage.sync()` brings txid-sync to its rest, `stage.session()` is
somebody else's transaction, `stage.step()` lets txid-sync read and send one page, and
`stage.assert_equal()` says that every index holds its table's rows, byte for byte.  After each
`sync` and `assert_equal` no document may have gone back to a lower version.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from psycopg2.extensions import connection

from tests.support import Database
from txid_sync import ids, schema
from txid_sync.dev import ElasticsearchServer
from txid_sync.errors import Unavailable
from txid_sync.model import Document, Limits, Page
from txid_sync.pipeline import Pipeline, PipelineOptions
from txid_sync.progress.elasticsearch import ElasticsearchProgress
from txid_sync.sinks.elasticsearch import ElasticsearchSettings, ElasticsearchSink
from txid_sync.sources.postgres import PostgresSource

Documents = dict[str, dict[str, Any]]
MOST_STEPS = 3000
# No proxy, whatever the environment says: the node is on this machine.
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ProcessEnds(BaseException):
    """txid-sync's process ends here, as by `kill -9`."""


def query(session: connection, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement; its rows, if it has any."""
    with session.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []


class Session:
    """Somebody's connection; a transaction begins with its first statement."""

    def __init__(self, opened: connection) -> None:
        self.connection = opened
        opened.autocommit = False

    def run(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """A statement of the open transaction; its rows, if it has any."""
        return query(self.connection, statement, *parameters)

    def commit(self) -> None:
        """End the transaction."""
        self.connection.commit()

    def rollback(self) -> None:
        """Undo the transaction."""
        self.connection.rollback()


def wrong(copy: Mapping[str, Any], truth: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with a copy, by id: "missing", "stale" or "ghost"."""
    found = dict.fromkeys(copy.keys() - truth.keys(), "ghost")
    found |= dict.fromkeys(truth.keys() - copy.keys(), "missing")
    return found | {id: "stale" for id in copy.keys() & truth.keys() if copy[id] != truth[id]}


class Stage:
    """One scenario's database and indices; txid-sync reads `size` rows a page, as role `reader`."""

    def __init__(self, database: Database, server: ElasticsearchServer, prefix: str) -> None:
        self.database, self.server, self.prefix = database, server, prefix
        self.size, self.reader, self.brake_off, self.catalog_seconds = 2, "", False, 0.0
        self._admin = database.connect()
        schema.install(self._admin)
        self._keys: dict[str, Sequence[str]] = {}
        self._pipeline: Pipeline | None = None
        self._closing: list[Callable[[], None]] = []
        self._highest: dict[tuple[str, str], int] = {}
        self.sent: list[Page] = []

    # -- the source -------------------------------------------------------------------------

    def table(
        self, columns: str, name: str = "t", key: Sequence[str] = ("id",), tail: str = ""
    ) -> None:
        """Make a table; txid-sync tracks it from its first `sync` on."""
        self.run(f"create table public.{name} ({columns}) {tail}")
        self._keys[name] = key

    def run(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """A statement in a transaction of its own; its rows, if it has any."""
        return query(self._admin, statement, *parameters)

    def session(self) -> Session:
        """Another connection, in explicit transactions."""
        return Session(self.database.connect())

    def reconnect(self) -> None:
        """Open the stage's own connection anew, after the server was away."""
        self._admin = self.database.connect()

    def truth(self, name: str = "t") -> Documents:
        """The rows of a table, by the id that their documents have."""
        key = ", ".join(f"{column}::text" for column in self._keys[name])
        rows = self.run(f"select array[{key}], row_to_json(t)::text from public.{name} t")
        return {ids.encode(parts): json.loads(text) for parts, text in rows}

    # -- txid-sync --------------------------------------------------------------------------

    def index_of(self, name: str = "t") -> str:
        """The index that txid-sync fills from a table."""
        return f"{self.prefix}{name}"

    def _made(self) -> Pipeline:
        """A pipeline, as a new process makes it."""
        settings = ElasticsearchSettings(self.server.url)
        letters = f"{self.prefix}letters"
        documents = [Document(f"public.{name}", self.index_of(name)) for name in self._keys]
        sink = ElasticsearchSink(settings, deadline_seconds=20, dead_letter_index=letters)
        store = ElasticsearchProgress(settings, f"{self.prefix}progress")
        user = f" user={self.reader}" if self.reader else ""
        source = PostgresSource(self.database.dsn + user, documents)
        self._closing += [sink.close, store.close, source.close]
        options = PipelineOptions(
            Limits(documents=self.size), save_interval_seconds=0,
            catalog_interval_seconds=self.catalog_seconds, brake_off=self.brake_off,
        )  # fmt: skip
        made = Pipeline("scenario", source, sink, store, documents, options)
        submit = sink.submit

        highest = 0

        def noted(page: Page) -> Any:
            nonlocal highest
            assert page.version >= highest, "a page was read in an older snapshot than the last"
            highest = page.version
            self.sent.append(page)
            return submit(page)

        sink.submit = noted  # type: ignore[method-assign]
        return made

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline of txid-sync, tracked, made and started when first asked for."""
        if self._pipeline is None:
            for name in self._keys:
                schema.track(self._admin, f"public.{name}")
            self._pipeline = self._made()
            self._pipeline.start()
        return self._pipeline

    def new_process(self) -> Pipeline:
        """Start txid-sync anew from its saved progress, leaving the old one where it was."""
        old, self._pipeline = self.pipeline, self._made()
        self._pipeline.start()
        return old

    def step(self) -> bool:
        """Let txid-sync do one thing: read and send a page, if there is one."""
        return self.pipeline.step()

    @property
    def reading(self) -> bool:
        """Whether txid-sync has read some pages of a window, and not yet all."""
        cursor = self.pipeline._read_cursor
        return cursor is not None and cursor.window is not None

    def sync(self, pipeline: Pipeline | None = None) -> None:
        """Let txid-sync (or another process of it) work until nothing is left to do."""
        pipeline = pipeline or self.pipeline
        for _ in range(MOST_STEPS):
            try:
                if not pipeline.step() and pipeline.status().phase == "sync":
                    break
            except Unavailable:
                pipeline.recover()
        else:
            raise AssertionError("txid-sync does not come to rest")
        for name in self._keys:
            self.held(name)

    def after_reading(self, action: Callable[[], None]) -> None:
        """Do something once, right after the statement that reads the next page."""
        session: Any = self.pipeline._source._session  # type: ignore[attr-defined]
        read = session.raw_row

        def once(*arguments: Any) -> Any:
            session.raw_row = read
            row = read(*arguments)
            action()
            return row

        session.raw_row = once

    def before_sending(self, action: Callable[[], None]) -> None:
        """Do something once, when the next page is read, has passed its gate, and is not sent."""
        sink: Any = self.pipeline._sink
        submit = sink.submit

        def once(page: Page) -> Any:
            sink.submit = submit
            action()
            return submit(page)

        sink.submit = once

    def die_before_sending(self) -> None:
        """Let txid-sync end with the next page in hand, and start it anew."""

        def die() -> None:
            raise ProcessEnds

        self.before_sending(die)
        with pytest.raises(ProcessEnds):
            self.pipeline.step()
        self.new_process()

    # -- the index --------------------------------------------------------------------------

    def held(self, name: str = "t") -> Documents:
        """The documents of an index, whose versions must not have gone back."""
        found: Documents = {}
        for id, version, document in self.search(self.index_of(name)):
            highest = self._highest.get((name, id), 0)
            assert version >= highest, f"{name} {id} went back from {highest} to {version}"
            self._highest[name, id] = version
            found[id] = document
        return found

    def assert_equal(self) -> None:
        """Every index holds its table's rows, and nothing else."""
        self.sync()
        for name in self._keys:
            assert wrong(self.held(name), self.truth(name)) == {}, f"of {name}"

    def search(self, index: str) -> list[tuple[str, int, dict[str, Any]]]:
        """Id, version and document of everything in an index, after a refresh."""
        self.server.request("POST", f"/{index}/_refresh")
        asked = {"size": 10_000, "version": True}
        hits = self.server.request("POST", f"/{index}/_search", asked)["hits"]["hits"]
        return [(hit["_id"], hit["_version"], hit["_source"]) for hit in hits]

    def bulk(self, index: str, body: bytes) -> dict[str, Any]:
        """Send a bulk request as it is; the answer to HTTP 200."""
        headers = {"Content-Type": "application/x-ndjson"}
        path = f"{self.server.url}/{index}/_bulk"
        with LOCAL.open(urllib.request.Request(path, body, headers), timeout=60) as answer:
            assert answer.status == 200
            told: dict[str, Any] = json.loads(answer.read())
            return told

    def close(self) -> None:
        """Let go of every connection; requests under way are waited for."""
        for close in self._closing:
            close()
