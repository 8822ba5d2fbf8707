"""From real tables to real indices, in this process: every way in which the two could differ."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.streams import World, execute, world_of
from tests.support import eventually
from txid_sync.daemon import Daemon, DaemonOptions
from txid_sync.errors import SourceUnavailable, TakenOver, Unavailable
from txid_sync.model import Document, Limits, Page, clock_of, epoch_of
from txid_sync.pipeline import Pipeline, PipelineOptions
from txid_sync.progress.elasticsearch import ElasticsearchProgress
from txid_sync.sinks.elasticsearch import ElasticsearchSettings, ElasticsearchSink
from txid_sync.sources.postgres import PostgresSource

CREATE = "create table public.t (id bigint primary key, v text, n numeric)"


class Place:
    """A world, an index for its table t, and pipelines between them."""

    def __init__(self, world: World, server: Any, prefix: str) -> None:
        self.world, self.server, self.prefix = world, server, prefix
        self.document = Document("public.t", f"{prefix}t")
        self._closing: list[Callable[[], None]] = []
        world.run(CREATE)
        world.track("public.t")

    def pipeline(self, size: int = 50, **options: Any) -> Pipeline:
        """A new pipeline, as a new process makes it."""
        settings = ElasticsearchSettings(self.server.url)
        letters = f"{self.prefix}letters"
        sink = ElasticsearchSink(settings, deadline_seconds=10, dead_letter_index=letters)
        store = ElasticsearchProgress(settings, f"{self.prefix}progress")
        source = PostgresSource(self.world.database.dsn, [self.document])
        self._closing += [sink.close, store.close, source.close]
        chosen = PipelineOptions(Limits(documents=size), save_interval_seconds=0, **options)
        return Pipeline("main", source, sink, store, [self.document], chosen)

    def run(self, pipeline: Pipeline | None = None) -> Pipeline:
        """Start a pipeline unless it is, and step it to its rest."""
        pipeline = pipeline or self.pipeline()
        if not pipeline.started:
            pipeline.start()
        for _ in range(5000):
            try:
                if not pipeline.step() and pipeline.status().phase == "sync":
                    return pipeline
            except Unavailable:
                pipeline.recover()
        raise AssertionError("the pipeline does not come to rest")

    def index(self) -> dict[str, Any]:
        """(version, document) by id, as the index holds them."""
        name = self.document.index
        self.server.request("POST", f"/{name}/_refresh")
        query = {"size": 10_000, "version": True}
        hits = self.server.request("POST", f"/{name}/_search", query)["hits"]["hits"]
        return {hit["_id"]: (hit["_version"], hit["_source"]) for hit in hits}

    def assert_equal(self) -> None:
        """Table and index hold the same."""
        rows = self.world.rows("select id::text, row_to_json(t)::text from public.t")
        held = {id: document for id, (_, document) in self.index().items()}
        assert held == {id: json.loads(text) for id, text in rows}

    def close(self) -> None:
        """Let go of every connection."""
        for close in self._closing:
            close()


@pytest.fixture
def place(database: Any, elasticsearch_server: Any, index_prefix: str) -> Iterator[Place]:
    """A tracked table and an index of its own."""
    with world_of(database) as world:
        place = Place(world, elasticsearch_server, index_prefix)
        yield place
        place.close()


def test_A15_load_and_stream_write_versions_of_the_clock(place: Place) -> None:
    """Documents carry epoch and clock as version; a replay of everything is no error."""
    place.world.run("insert into public.t select g, 'x', g * 1.50 from generate_series(1, 120) g")
    pipeline = place.run()
    place.assert_equal()
    place.world.run("update public.t set v = 'y' where id <= 10")
    place.run(pipeline)
    place.assert_equal()
    clock = pipeline.status().clock
    versions = [version for version, _ in place.index().values()]
    assert {epoch_of(version) for version in versions} == {1}
    assert max(map(clock_of, versions)) <= clock
    pipeline.resync("replay")
    place.run(pipeline)
    place.assert_equal()
    assert {epoch_of(version) for version, _ in place.index().values()} == {2}


def test_B12_create_update_delete_and_again(place: Place) -> None:
    """One key through its life, each step seen in order, ends as the table has it."""
    pipeline = place.run()
    for statement in (
        "insert into public.t values (1, 'a', 1)",
        "update public.t set v = 'b'",
        "delete from public.t",
        "insert into public.t values (1, 'c', 1)",
        "update public.t set id = 2",
    ):
        place.world.run(statement)
        place.run(pipeline)
        place.assert_equal()


def test_A04_no_transaction_is_open_while_the_sink_works(place: Place) -> None:
    """While a request is under way the source sees neither a transaction nor a snapshot of ours."""
    states: list[Any] = []
    pipeline = place.pipeline()
    submit = pipeline._sink.submit
    mine = "select pg_backend_pid()"

    def watched(page: Page) -> Any:
        source: Any = pipeline._source
        pid = source._session.row(mine)["pg_backend_pid"]
        states.extend(
            place.world.rows(
                "select state, backend_xmin, backend_xid from pg_stat_activity where pid = %s", pid
            )
        )
        return submit(page)

    pipeline._sink.submit = watched  # type: ignore[method-assign]
    place.world.run("insert into public.t select g, 'x', 1 from generate_series(1, 200) g")
    place.run(pipeline)
    assert states and set(states) == {("idle", None, None)}


def test_A16_a_document_refused_for_good_is_a_dead_letter(place: Place) -> None:
    """An adopted index refuses one row: it is kept as a dead letter, once; the others arrive."""
    strict = {"properties": {"n": {"type": "integer"}, "v": {"type": "keyword"}}}
    place.server.request("PUT", f"/{place.document.index}", {"mappings": strict})
    place.world.run("insert into public.t select g, 'x', g from generate_series(1, 5) g")
    place.world.run("update public.t set n = 1e12 where id = 3")
    pipeline = place.run()
    pipeline.resync("again")
    place.run(pipeline)
    assert set(place.index()) == {"1", "2", "4", "5"}
    total, letters = pipeline._sink.dead_letters()
    assert (total, [letter.id for letter in letters]) == (1, ["3"])
    place.world.run("update public.t set n = 3 where id = 3")
    place.run(pipeline)
    place.assert_equal()
    assert pipeline._sink.dead_letters()[0] == 0


def test_F15_a_truncation_empties_the_index(place: Place) -> None:
    """TRUNCATE removes all documents, without the delete brake, and later rows stay."""
    place.world.run("insert into public.t select g, 'x', 1 from generate_series(1, 300) g")
    pipeline = place.run()
    place.world.run("truncate public.t")
    place.world.run("insert into public.t values (7, 'after', 1)")
    place.run(pipeline)
    place.assert_equal()


def test_H06_what_happened_while_nobody_ran_is_picked_up(place: Place) -> None:
    """A long backlog of the same few keys, and deletes, arrives; each key about once."""
    place.world.run("insert into public.t select g, 'x', 1 from generate_series(1, 60) g")
    first = place.run()
    first.stop()
    before = first.status().acknowledged_documents
    for n in range(300):
        place.world.run("update public.t set v = %s where id = %s", str(n), 1 + n % 50)
    place.world.run("delete from public.t where id in (7, 60)")
    place.world.run("insert into public.t values (61, 'new', 1)")
    second = place.run(place.pipeline(size=10))
    place.assert_equal()
    assert second.status().resyncs == 0
    assert 52 <= second.status().acknowledged_documents - before <= 52 + 10 + 2


def test_an_index_deleted_behind_our_back_is_filled_again(place: Place) -> None:
    """The index is deleted while the pipeline runs: it is made and filled anew."""
    place.world.run("insert into public.t select g, 'x', 1 from generate_series(1, 100) g")
    pipeline = place.run()
    place.server.delete_indices(f"{place.document.index}-0")
    place.world.run("update public.t set v = 'y' where id = 1")
    place.run(pipeline)
    place.assert_equal()


def test_a_new_column_with_a_default_reaches_every_document(place: Place) -> None:
    """ALTER TABLE changes what rows look like without touching them: documents follow."""
    place.world.run("insert into public.t select g, 'x', 1 from generate_series(1, 100) g")
    pipeline = place.run(place.pipeline(catalog_interval_seconds=0.0))
    place.world.run("alter table public.t add column extra int default 7")
    place.run(pipeline)
    place.assert_equal()
    assert pipeline.progress.epoch == 1


def test_B03_a_load_goes_on_where_it_was(place: Place) -> None:
    """A process that ends in the middle of a load is followed by one that reads only the rest."""
    place.world.run("insert into public.t select g, 'x', 1 from generate_series(1, 1000) g")
    first = place.pipeline(size=100)
    first.start()
    while first.status().acknowledged_documents < 500:
        first.step()
    first.stop()
    written = first.status().acknowledged_documents
    second = place.pipeline(size=100)
    place.run(second)
    place.assert_equal()
    assert second.status().acknowledged_documents == 1000
    assert written >= 500


def test_H17_counters_survive_a_restart(place: Place) -> None:
    """Counts go on over restarts, read is never below acknowledged, and equal when idle."""
    place.world.run("insert into public.t select g, 'x', 1 from generate_series(1, 300) g")
    seen = []
    for size in (20, 30):
        pipeline = place.pipeline(size=size, skim_entries=0)
        pipeline.start()
        place.world.run("update public.t set v = v || 'y' where id <= 100")
        for _ in range(5):
            pipeline.step()
            status = pipeline.status()
            assert status.read_documents >= status.acknowledged_documents
            seen.append(status.acknowledged_documents)
        pipeline.stop()
        seen.append(pipeline.status().acknowledged_documents)
    last = place.run()
    status = last.status()
    assert seen == sorted(seen)
    assert seen[-1] > 0
    assert status.read_documents == status.acknowledged_documents == 500
    place.assert_equal()


def test_B02_a_transaction_open_during_the_load_arrives_afterwards(place: Place) -> None:
    """What commits while the load runs, or after it, arrives by the stream; nothing goes back."""
    place.world.run("insert into public.t select g, 'old', 1 from generate_series(1, 200) g")
    writer = place.world.session()
    execute(writer, "update public.t set v = 'new' where id in (1, 100, 200)")
    execute(writer, "insert into public.t values (1000, 'new', 1)")
    execute(writer, "delete from public.t where id = 50")
    pipeline = place.pipeline(size=20)
    pipeline.start()
    for _ in range(6):
        pipeline.step()
    writer.commit()
    place.run(pipeline)
    place.assert_equal()


def test_A13_a_change_after_a_rest_arrives_within_the_poll_interval(place: Place) -> None:
    """Polling slows down while nothing happens, and the next change is still there in a second."""
    pipeline, stop = place.pipeline(), threading.Event()
    thread = threading.Thread(target=Daemon(pipeline, DaemonOptions(), stop).run)
    thread.start()
    try:
        stop.wait(2.0)
        place.world.run("insert into public.t values (1, 'x', 1)")
        begun = time.monotonic()
        eventually(lambda: "1" in place.index(), timeout_seconds=10)
        assert time.monotonic() - begun < 2.0
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def test_B05_a_lost_connection_is_made_again(place: Place) -> None:
    """Backends terminated again and again while a daemon runs: it comes back and ends equal."""
    pipeline, stop = place.pipeline(size=10), threading.Event()
    daemon = Daemon(pipeline, DaemonOptions(longest_delay_seconds=0.1), stop)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        for n in range(10):
            place.world.run(
                "insert into public.t select g, 'x', 1 from generate_series(%s, %s) g",
                n * 100, n * 100 + 99,
            )  # fmt: skip
            place.world.run(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    place.run()
    place.assert_equal()


def test_B07_the_first_connect_is_tried_so_often_only(place: Place) -> None:
    """A source that is not there at the start ends the program after the configured attempts."""
    pipeline = place.pipeline()
    pipeline._source._session._dsn = "host=127.0.0.1 port=1 dbname=x"  # type: ignore[attr-defined]
    waits: list[float | None] = []
    stop = threading.Event()
    stop.wait = lambda timeout=None: bool(waits.append(timeout))  # type: ignore[method-assign]
    options = DaemonOptions(connect_attempts=3, retry_period_seconds=1.5)
    with pytest.raises(SourceUnavailable):
        Daemon(pipeline, options, stop).run()
    assert waits == [1.5, 1.5]


def test_F21_the_loser_of_two_instances_stops(place: Place) -> None:
    """Two instances of one pipeline: the second to save stops, and the index is right."""
    place.world.run("insert into public.t select g, 'x', 1 from generate_series(1, 50) g")
    first, second = place.pipeline(), place.pipeline()
    first.start()
    second.start()
    place.run(second)
    second.resync("so that the two cannot come to the same progress by chance")
    place.run(second)
    with pytest.raises(TakenOver):
        place.run(first)
    place.world.run("delete from public.t where id < 20")
    place.run(second)
    place.assert_equal()


def test_once_ends_although_writes_go_on(place: Place) -> None:
    """`--once` means all that was there at the start, not a moment without writers."""
    pipeline, stop = place.pipeline(size=10), threading.Event()
    place.world.run("insert into public.t select g, 'x', 1 from generate_series(1, 100) g")
    writer = place.world.session()

    def write() -> None:
        while not stop.is_set():
            execute(writer, "update public.t set v = v || 'y' where id % 10 = 1")
            writer.commit()
            stop.wait(0.01)  # pages are tiny: without a pause the first window would be huge

    thread = threading.Thread(target=write)
    thread.start()
    running = threading.Thread(target=Daemon(pipeline, DaemonOptions(), stop).run, args=(True,))
    try:
        running.start()
        running.join(30)
        assert not running.is_alive()
    finally:
        stop.set()
        thread.join()
        running.join(30)
    assert len(place.index()) == 100
