"""Flaws that once were there, one example each."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace

import pytest

from tests.unit.pipelines import OPTIONS, A, B, World, drain, run
from txid_sync.errors import SinkUnavailable, TakenOver
from txid_sync.model import Document, version_of
from txid_sync.progress.elasticsearch import ElasticsearchProgress
from txid_sync.sinks.elasticsearch import ElasticsearchSettings, ElasticsearchSink
from txid_sync.sinks.elasticsearch_http import Answer
from txid_sync.sources.memory_database import MemoryDatabase


def test_documents_reordered_within_a_window_lose_nothing() -> None:
    """A configuration whose documents change places between two runs, in mid-window."""
    world = World()
    run(world)
    with world.database.transaction() as session:
        session.write("a", {(str(k),): f'{{"k":{k}}}' for k in range(6)})
        session.write("b", {(str(k),): f'{{"k":{k}}}' for k in range(6)})
    first = world.pipeline(documents=(A, B))
    first.start()
    while first.progress.cursor.position is None:
        first.step()
    assert first.progress.cursor.position.table == "a"
    second = world.pipeline(documents=(B, A))  # the first was killed; its progress is saved
    second.start()
    drain(second)
    world.assert_equal()


def test_six_documents_can_be_resynced_by_name() -> None:
    """`txid-sync resync a b c d e f`."""
    names = "abcdef"
    documents = [Document(n, n) for n in names]
    world = World(database=MemoryDatabase(*names))
    pipeline = world.pipeline(documents=documents)
    pipeline.start()
    pipeline.resync("asked for", list(names))


def test_a_migration_of_six_tables_is_followed() -> None:
    """Six tables get a column while a busy source never lets the pipeline rest."""
    names = "abcdef"
    documents = [Document(n, n) for n in names]
    world = World(database=MemoryDatabase(*names))
    pipeline = world.pipeline(documents=documents)
    pipeline.start()
    drain(pipeline)
    for name in names:
        world.database.alter(name, fingerprint="a column more")
    for name in names:
        world.write(name, 1)
    drain(pipeline)


def test_ghosts_of_a_higher_epoch_are_swept() -> None:
    """Progress is lost, the index holds documents of an earlier life with a higher epoch."""
    world = World(options=replace(OPTIONS, brake_off=True))
    world.write("a", 1, 2)
    pipeline = world.pipeline()
    pipeline.start()
    pipeline.resync("asked for")
    pipeline.resync("asked for")
    drain(pipeline)
    pipeline.stop()
    world.store.delete("main")
    world.delete("a", 1, 2)
    world.write("a", 3)
    run(world)
    world.assert_equal()


class _Http:
    """An index of one document, with answers lost on demand."""

    def __init__(self) -> None:
        self.body: dict[str, object] | None = None
        self.seq = 0
        self.script: list[str] = []

    def ask(self, method: str, path: str, value: object = None, allowed: object = ()) -> Answer:
        if method == "GET":
            found = {"_source": self.body, "_seq_no": self.seq, "_primary_term": 1}
            return Answer(200, json.dumps(found).encode())
        fault = self.script.pop(0) if self.script else ""
        if fault == "refused":
            raise SinkUnavailable("503")
        if self.body is not None and f"if_seq_no={self.seq}&" not in path:
            return Answer(409, b"{}")
        self.seq += 1
        self.body = value  # type: ignore[assignment]
        if fault == "lost":
            raise SinkUnavailable("timed out")
        return Answer(200, json.dumps({"_seq_no": self.seq, "_primary_term": 1}).encode())

    def send(self, *_: object) -> Answer:
        return Answer(200, b"")


def test_two_saves_without_an_answer_are_no_other_instance() -> None:
    """The first was stored, the second was not; the third goes on from the first."""
    world = World()
    pipeline = run(world)
    progress = pipeline.progress
    store = ElasticsearchProgress(ElasticsearchSettings("http://localhost:1"), deadline_seconds=0.0)
    http = _Http()
    store._http = http  # type: ignore[assignment]
    fence = store.save("main", progress, None)
    http.script = ["lost", "refused"]
    for highest in (1001, 1002):
        with pytest.raises(SinkUnavailable):
            store.save("main", replace(progress, highest_version=highest), fence)
    try:
        store.save("main", replace(progress, highest_version=1003), fence)
    except TakenOver as error:
        pytest.fail(f"nobody else was there: {error}")


def test_a_scan_that_is_dropped_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that is given up while the sink is away leaves no traceback."""
    sink = ElasticsearchSink(ElasticsearchSettings("http://localhost:1"))
    hits = {"hits": {"hits": [{"_id": "1", "_version": 1}]}, "_scroll_id": "x"}
    monkeypatch.setattr(sink, "_refresh", lambda _: None)
    monkeypatch.setattr(sink, "_whole", lambda *_: hits)
    scan = sink.scan("a")
    next(scan)
    sink.close()
    assert isinstance(scan, Generator)
    scan.close()  # what the collector does when the pipeline lets go of it


def test_ghosts_as_new_as_the_load_are_swept() -> None:
    """A document that was written at the very clock at which the load begins (an idle source), and
    that a new definition leaves out: progress was deleted in between."""
    world = World(options=replace(OPTIONS, brake_off=True))
    world.write("a", 1, 2)
    pipeline = run(world)
    clock = pipeline.status().clock
    world.sink._index("a").write("9", version_of(1, clock), b'{"k":9}')  # left out from now on
    world.store.delete("main")
    run(world)
    world.assert_equal()


def test_documents_whose_indices_went_together_are_all_written_again() -> None:
    """Two indices are dropped between two looks at the catalog; `run --once` ends when at rest."""
    world = World()
    world.write("a", 1)
    world.write("b", 1)
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    world.sink.drop_index("a")
    world.sink.drop_index("b")
    world.write("a", 2)
    world.now_seconds += 100
    drain(pipeline)
    world.assert_equal()
