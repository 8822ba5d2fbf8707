"""A tracked table, an index, and daemons between them that reach both servers through proxies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any
from urllib.error import HTTPError

from psycopg2 import extensions

from tests.faults.http_proxy import HttpProxy
from tests.faults.proxy import PostgresProxy
from tests.integration.streams import World, world_of
from tests.support import Database
from txid_sync.daemon import Daemon, DaemonOptions
from txid_sync.dev import PostgresServer
from txid_sync.model import Document, Limits
from txid_sync.pipeline import Pipeline, PipelineOptions
from txid_sync.progress.elasticsearch import ElasticsearchProgress
from txid_sync.sinks import elasticsearch as sink_module
from txid_sync.sinks.elasticsearch import ElasticsearchSettings, ElasticsearchSink
from txid_sync.sources import postgres_session
from txid_sync.sources.postgres import PostgresSource

CREATE = "create table public.t (id bigint primary key, v text, n numeric)"
TIMEOUT_SECONDS = 2.0
DEADLINE_SECONDS = 3.0
PATIENCE_SECONDS = 60.0


def hurry(monkeypatch: Any) -> None:
    """Give up on answers after two seconds, where a minute is usual."""
    monkeypatch.setattr(sink_module, "LEAST_TIMEOUT_SECONDS", TIMEOUT_SECONDS)
    monkeypatch.setattr("txid_sync.progress.elasticsearch._LEAST_TIMEOUT_SECONDS", TIMEOUT_SECONDS)
    monkeypatch.setattr(postgres_session, "ANSWER_SECONDS", TIMEOUT_SECONDS)
    monkeypatch.setattr(postgres_session, "CONNECT_SECONDS", int(TIMEOUT_SECONDS))


class Place:
    """One table public.t, its index, and a proxy before each of the two servers."""

    def __init__(self, world: World, search: Any, prefix: str) -> None:
        self.world, self.search, self.prefix = world, search, prefix
        self.document = Document("public.t", f"{prefix}t")
        self._stack = ExitStack()
        database = extensions.parse_dsn(world.database.dsn)
        self.postgres = self._stack.enter_context(PostgresProxy(int(database["port"])))
        self.http = self._stack.enter_context(HttpProxy(search.port))
        self.dsn = extensions.make_dsn(world.database.dsn, port=self.postgres.port)
        world.run(CREATE)
        world.track("public.t")

    @property
    def bulk(self) -> bytes:
        """What a bulk request to the index begins with."""
        return f"POST /{self.document.index}/_bulk".encode()

    def pipeline(self, size: int = 20, **options: Any) -> Pipeline:
        """A new pipeline through the proxies, as a new process makes it."""
        settings = ElasticsearchSettings(self.http.url)
        sink = ElasticsearchSink(
            settings, deadline_seconds=DEADLINE_SECONDS, dead_letter_index=f"{self.prefix}letters"
        )
        store = ElasticsearchProgress(settings, f"{self.prefix}progress", DEADLINE_SECONDS)
        source = PostgresSource(self.dsn, [self.document])
        for part in (sink, store, source):
            self._stack.callback(part.close)
        chosen = PipelineOptions(
            Limits(documents=size), save_interval_seconds=0, deadline_seconds=DEADLINE_SECONDS,
            catalog_interval_seconds=0.0, **options,
        )  # fmt: skip
        return Pipeline("main", source, sink, store, [self.document], chosen)

    def daemon(self, stop: threading.Event, **options: Any) -> Daemon:
        """A daemon around a new pipeline, in a hurry."""
        hurried = DaemonOptions(
            retry_period_seconds=0.1, longest_delay_seconds=0.3, poll_interval_seconds=0.05
        )
        return Daemon(self.pipeline(**options), hurried, stop)

    def run_once(self, **options: Any) -> Pipeline:
        """Run until the sink is complete, whatever stands in the way; gives the pipeline."""
        stop = threading.Event()
        daemon = self.daemon(stop, **options)
        with in_thread(lambda: daemon.run(once=True), stop):
            pass
        return daemon._pipeline

    @contextmanager
    def running(self, **options: Any) -> Iterator[Daemon]:
        """A daemon that runs for as long as the block does, and then is stopped in order."""
        stop = threading.Event()
        daemon = self.daemon(stop, **options)
        with in_thread(daemon.run, stop):
            yield daemon
            stop.set()

    def fill(self, rows: int = 200) -> None:
        """Rows 1 to `rows`."""
        self.world.run(
            "insert into public.t select g, 'old', g from generate_series(1, %s) g", rows
        )

    def change(self) -> None:
        """Update, delete, delete and insert again: all that an older document could undo."""
        self.world.run("update public.t set v = 'new' where id % 3 = 0")
        self.world.run("delete from public.t where id % 5 = 0")
        self.world.run("delete from public.t where id % 7 = 0")
        self.world.run(
            "insert into public.t select g, 'again', g from generate_series(7, 70, 7) g"
        )

    def index(self) -> dict[str, Any]:
        """The documents by id, asked without the proxy."""
        name = self.document.index
        self.search.request("POST", f"/{name}/_refresh")
        hits = self.search.request("POST", f"/{name}/_search", {"size": 10_000})["hits"]["hits"]
        return {hit["_id"]: hit["_source"] for hit in hits}

    def equal(self) -> bool:
        """Whether table and index hold the same; no index is not the same."""
        try:
            self.assert_equal()
        except (AssertionError, HTTPError):
            return False
        return True

    def make_index(self, name: str, value: object) -> None:
        """Make an index by hand; the alias that it may have is taken from any other one."""
        while True:
            try:
                self.search.request("PUT", f"/{name}", value)
            except HTTPError as error:
                if error.code != 400:
                    raise
            if name in self.search.request("GET", f"/{self.document.index}/_alias"):
                return
            self.search.delete_indices(f"{self.document.index}")

    def assert_equal(self, without: tuple[str, ...] = ()) -> None:
        """Table and index hold the same (but for documents that are dead letters)."""
        rows = self.world.rows("select id::text, row_to_json(t)::text from public.t")
        wanted = {id: json.loads(text) for id, text in rows if id not in without}
        assert self.index() == wanted

    def reconnect(self) -> None:
        """After a restart of PostgreSQL: the test's own connection."""
        self.world.admin = self.world.database.connect()

    def close(self) -> None:
        """Let go of everything."""
        self._stack.close()


@contextmanager
def own_server(search: Any, prefix: str) -> Iterator[tuple[PostgresServer, Place]]:
    """A place on a PostgreSQL of its own, which may be stopped."""
    with PostgresServer() as server:
        database = Database("own", server.createdb("own"))
        with world_of(database) as world, closing(Place(world, search, prefix)) as place:
            yield server, place


@contextmanager
def in_thread(work: Callable[[], None], stop: threading.Event) -> Iterator[threading.Thread]:
    """`work` in a thread: what it raises is raised here, and that it hangs is an error.

    If the block fails, the work is asked to stop.
    """
    raised: list[BaseException] = []

    def target() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  raised below
            raised.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield thread
    except BaseException:
        stop.set()
        raise
    finally:
        thread.join(PATIENCE_SECONDS)
        stop.set()
        hangs = thread.is_alive()
        thread.join(10)
    assert not hangs, "it does not come to an end"
    if raised:
        raise raised[0]
