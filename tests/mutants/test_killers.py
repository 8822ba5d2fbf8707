"""Rules that no other test would miss: each test here ends one or more mutants of the list."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from tests.unit.pipelines import OPTIONS, A, B, World, drain, run
from txid_sync.compare_json import read
from txid_sync.cursor import Cursor
from txid_sync.daemon import Daemon, DaemonOptions
from txid_sync.errors import DeleteBrake, SinkUnavailable, TakenOver
from txid_sync.model import Page, version_of
from txid_sync.pipeline import Pipeline
from txid_sync.progress.base import Progress
from txid_sync.progress.elasticsearch import ElasticsearchProgress
from txid_sync.sinks.elasticsearch import ElasticsearchSettings, ElasticsearchSink
from txid_sync.sinks.elasticsearch_http import Answer
from txid_sync.sinks.memory import Fault, MemoryIndex, MemorySink
from txid_sync.snapshot import Snapshot
from txid_sync.sources import postgres_session
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.memory_look import Look
from txid_sync.sweep import candidates

QUICK = DaemonOptions(poll_interval_seconds=0.001, longest_delay_seconds=0.001)


def started(world: World) -> Pipeline:
    """A pipeline that has come to rest."""
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    return pipeline


@pytest.mark.parametrize("refusals", [1, 3])
def test_a_page_is_sent_when_its_gate_has_passed_and_not_before(refusals: int) -> None:
    """However often the gate says no, nothing reaches the sink before it says yes."""
    world, asked = World(), [0]
    pipeline = started(world)
    source = cast("MemorySource", pipeline._source)
    real = source._gate

    def gate(look: Look) -> bool:
        assert world.index("a") == {}
        asked[0] += 1
        return asked[0] > refusals and real(look)

    source._gate = gate  # type: ignore[method-assign]
    world.write("a", 1)
    drain(pipeline)
    assert asked[0] == refusals + 1
    world.assert_equal()


def _first(fault: Fault, wanted: Callable[[Page], bool]) -> Callable[[Page], Fault | None]:
    """A fault of the sink that strikes the first page of a kind, once."""
    struck: list[Page] = []

    def faults(page: Page) -> Fault | None:
        if struck or not wanted(page):
            return None
        struck.append(page)
        return fault

    return faults


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.HALF, Fault.LATE, Fault.EXPIRED])
def test_a_load_page_that_failed_is_read_again(fault: Fault) -> None:
    """The rows of one page of a load are refused: they arrive although nobody changes them."""
    faults = _first(fault, lambda page: b'"_id":"4"' in page.body)
    world = World(sink=MemorySink(faults))
    world.write("a", *range(9))
    run(world)
    world.assert_equal()


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.EXPIRED])
def test_a_sweep_page_that_failed_is_read_again(fault: Fault) -> None:
    """The deletes of a sweep are refused once: its ghosts go all the same."""
    world = World(options=replace(OPTIONS, brake_off=True))
    world.write("a", 1, 2)
    pipeline = started(world)
    for ghost in ("7", "8"):
        world.sink._index("a").write(ghost, version_of(1, 1), b"{}")
    world.sink._faults = _first(fault, lambda page: b'{"delete"' in page.body)
    pipeline.resync("asked for", ["a"])
    drain(pipeline)
    world.assert_equal()


def test_an_outage_is_followed_by_a_new_reading() -> None:
    """The loop goes back to what was acknowledged before it reads on."""
    world, stop = World(), threading.Event()
    world.write("a", *range(9))
    world.sink._faults = _first(Fault.REFUSED, lambda page: page.documents > 0)
    pipeline, steps = world.pipeline(), [0]
    step = pipeline.step

    def counted() -> bool:
        steps[0] += 1
        assert steps[0] < 1000, "it steps on and never catches up"
        return step()

    pipeline.step = counted  # type: ignore[method-assign]
    Daemon(pipeline, QUICK, stop).run(once=True)
    world.assert_equal()


def test_once_ends_when_all_that_was_there_has_arrived() -> None:
    """A run that is to end when it has caught up reads every page of what it found."""
    world = World()
    run(world)
    world.write("a", *range(9))
    Daemon(world.pipeline(), QUICK, threading.Event()).run(once=True)
    world.assert_equal()


def test_the_brake_counts_the_whole_index() -> None:
    """Ghosts that are few in each chunk of the scan and many together stop the sweep."""
    sink = MemorySink()
    ghosts = {str(n): (1, b"{}") for n in range(0, 1000, 3)}
    sink.indices["a"] = MemoryIndex("u", {str(n): (9, b"{}") for n in range(1000)} | ghosts)
    with pytest.raises(DeleteBrake):
        list(candidates(sink, "a", 5, 0.2, lambda version: None))


def test_the_greatest_version_is_kept() -> None:
    """An older page that is acknowledged after a newer one does not lower it."""
    keeper = started(World())._keeper
    page = Page("a", b"", 1, version_of(1, 1000))
    keeper.apply(lambda progress: progress, page, 0)
    keeper.apply(lambda progress: progress, replace(page, version=version_of(1, 10)), 0)
    assert keeper.progress.highest_version == page.version


def test_an_index_made_again_behind_a_stopped_pipeline_is_filled() -> None:
    """Somebody deletes the index and creates an empty one of the same name."""
    world = World()
    world.write("a", 1, 2)
    run(world)
    world.sink.indices["a"] = MemoryIndex("another")
    pipeline = run(world)
    world.assert_equal()
    assert pipeline.progress.epoch == 2


def test_a_document_with_a_filled_index_begins_above_it() -> None:
    """A document that is added finds an index with versions of its own clock and epoch."""
    world = World(options=replace(OPTIONS, brake_off=True))
    world.write("b", 1)
    only_b = world.pipeline(documents=(B,))
    only_b.start()
    drain(only_b)
    only_b.stop()
    clock = only_b.status().clock
    ghosts = {"1": (version_of(1, clock), b"{}"), "2": (version_of(1, clock), b"{}")}
    world.sink.indices["a"] = MemoryIndex("filled", ghosts)
    both = world.pipeline(documents=(A, B))
    both.start()
    drain(both)
    world.assert_equal()
    assert both.progress.epoch == 2


class ProgressIndex:
    """The index of progress, with one document and its sequence number."""

    def __init__(self) -> None:
        self.body: dict[str, object] | None = None
        self.seq = 0

    def ask(self, method: str, path: str, value: object = None, allowed: object = ()) -> Answer:
        """A read, or a conditional write."""
        found = {"_source": self.body, "_seq_no": self.seq, "_primary_term": 1}
        if method == "GET":
            return Answer(404 if self.body is None else 200, json.dumps(found).encode())
        wanted = "/_create/" in path if self.body is None else f"if_seq_no={self.seq}&" in path
        if not wanted:
            return Answer(409, b"{}")
        self.seq += 1
        self.body = cast("dict[str, object]", value)
        return Answer(200, json.dumps({"_seq_no": self.seq, "_primary_term": 1}).encode())

    def send(self, *_: object) -> Answer:
        """The index is there."""
        return Answer(200, b"")


def test_another_text_is_another_instance() -> None:
    """What is stored and was never written from here ends this instance."""
    index, stores = ProgressIndex(), []
    for _ in range(2):
        store = ElasticsearchProgress(ElasticsearchSettings("http://localhost:1"))
        store._http = index  # type: ignore[assignment]
        stores.append(store)
    progress = Progress(Cursor.start(Snapshot.of(5)), {"system": "1"})
    fence = stores[0].save("main", progress, None)
    stores[1].save("main", replace(progress, epoch=2), fence)
    with pytest.raises(TakenOver):
        stores[0].save("main", replace(progress, epoch=3), fence)
    assert index.seq == 2


@pytest.mark.parametrize("wrong", [{"_shards": {"failed": 1}}, {"timed_out": True}])
def test_a_scan_of_less_than_all_shards_is_refused(
    wrong: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that leaves out a shard ends the scan, for it would hide documents."""
    sink = ElasticsearchSink(ElasticsearchSettings("http://localhost:1"))
    whole = {"_shards": {"failed": 0}, "hits": {"hits": []}, "_scroll_id": "x", "timed_out": False}
    answers = [Answer(200, json.dumps(whole).encode())]  # of the refresh
    answers.append(Answer(200, json.dumps(whole | wrong).encode()))
    monkeypatch.setattr(sink._http, "send", lambda *_, **__: answers.pop(0))
    with pytest.raises(SinkUnavailable, match="not all shards"):
        list(sink.scan("a"))
    sink.close()


def test_the_checker_keeps_every_digit() -> None:
    """Numbers beyond the precision of a float differ by their last digit."""
    assert read("1.2345678901234567890") != read("1.2345678901234567891")


class SlowDisk:
    """A session whose server has flushed only some questions after it was told to."""

    generation, forced, asked = 1, 0, 0

    def flushed(self, lsn: str) -> bool:
        """Whether it is time."""
        self.asked += self.forced
        return bool(lsn) and self.asked > 5

    def force_flush(self) -> None:
        """Count."""
        self.forced += 1


def test_the_gate_forces_once_and_then_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a forced flush takes its time, no other is asked for."""
    monkeypatch.setattr(postgres_session, "FORCE_AFTER_SECONDS", -1.0)
    session = SlowDisk()
    gate = postgres_session.Gate(cast("postgres_session.Session", session), "0/1")
    answers = [gate() for _ in range(8)]
    assert (answers.count(False), session.forced) == (6, 1)
