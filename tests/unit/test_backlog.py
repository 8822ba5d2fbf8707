"""Long windows: each key is written once, nothing is left out, whatever the sink does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, cast

import pytest

from tests.unit.pipelines import OPTIONS, World, drain, run
from tests.unit.test_survivors import SlowSink
from txid_sync.backlog import MAX_SEEN, Backlog
from txid_sync.cursor import Cursor, Position
from txid_sync.inflight import EMPTY
from txid_sync.model import Page, StreamPage
from txid_sync.pipeline import Pipeline
from txid_sync.sinks.memory import Fault
from txid_sync.snapshot import Snapshot

SKIMMING = replace(OPTIONS, skim_entries=100)


def _behind(rounds: int = 20, keys: int = 10) -> World:
    """A world whose keys have changed many times, one at a time, since the pipeline last ran."""
    world = World(options=SKIMMING)
    world.write("a", *range(keys))
    run(world)
    _change(world, rounds, keys)
    return world


def _change(world: World, rounds: int, keys: int) -> None:
    for n in range(rounds):
        for key in range(keys):
            world.write("a", key, value=f"{n}")


def _written(world: World, pipeline: Pipeline) -> int:
    before = pipeline.status().acknowledged_documents
    drain(pipeline)
    world.assert_equal()
    return pipeline.status().acknowledged_documents - before


def _started(world: World) -> Pipeline:
    pipeline = world.pipeline()
    pipeline.start()
    return pipeline


def test_a_key_is_written_about_once_in_a_window() -> None:
    """A change of each of ten keys twenty times is hardly more than ten documents."""
    world = _behind()
    assert _written(world, _started(world)) <= 16
    world.options = OPTIONS
    _change(world, 20, 10)
    assert _written(world, _started(world)) == 200


def test_what_is_written_again_in_the_next_window_counts_again() -> None:
    """What was seen is forgotten with the window."""
    world = _behind()
    pipeline = _started(world)
    drain(pipeline)
    _change(world, 20, 10)
    world.delete("a", 3)
    assert 10 <= _written(world, pipeline) <= 16


def test_a_truncation_within_a_skim_is_followed() -> None:
    """The sweep that it asks for comes after the keys that were skimmed with it."""
    world = _behind(2)
    with world.database.transaction() as session:
        session.truncate("a")
    world.write("a", 1, 2, value="after")
    pipeline = _started(world)
    drain(pipeline)
    world.assert_equal()
    assert set(world.index("a")) == {"1", "2"}


def test_F01_death_in_the_middle_of_a_skim_loses_nothing() -> None:
    """However many steps a process lives, the next one writes what it had not."""
    for steps in range(1, 30):
        world = _behind(4)
        pipeline = _started(world)
        for _ in range(steps):
            pipeline.step()
        if pipeline.progress.cursor.window is not None:
            pipeline.stop()
        run(world)
        world.assert_equal()


@pytest.mark.parametrize("every", [2, 3, 5])
@pytest.mark.parametrize("fault", [Fault.RETRIED, Fault.REFUSED, Fault.LOST])
def test_a_sink_that_often_fails_is_caught_up_with(fault: Fault, every: int) -> None:
    """Skims become shorter down to plain pages, so that something counts between two failures."""
    world, pages = _behind(12), count()
    world.sink._faults = lambda _: fault if next(pages) % every == 0 else None
    drain(_started(world))
    world.assert_equal()


@pytest.mark.parametrize("fault", [Fault.RETRIED, Fault.REFUSED, Fault.LOST])
def test_keys_that_were_thrown_away_are_skimmed_again(fault: Fault) -> None:
    """A rewind in the middle of a skim forgets what was seen, whichever page it is that fails."""
    for failing in range(12):
        world, pages = _behind(12), count()
        world.options = replace(SKIMMING, skim_entries=6400)
        world.sink._faults = lambda _: fault if next(pages) == failing else None  # noqa: B023
        drain(_started(world))
        world.assert_equal()


def test_a_rewind_forgets_what_was_seen() -> None:
    """Nothing of a skim whose pages were thrown away counts any more."""
    backlog = _sampled(1600).skim(_skimmed(), ["1", "2"]).rewound()
    assert (backlog.seen, backlog.skimmed, backlog.entries) == (frozenset(), None, 100)
    assert backlog.skim(_skimmed(), ["2", "3"]).next(9) == ("2", "3")


def test_what_is_listed_behind_a_slow_request_is_bounded() -> None:
    """Places of skims without new keys wait for what is before them: a few at the most."""
    world = _behind(100, 2)
    sink = world.sink = SlowSink()
    world.options = replace(SKIMMING, skim_entries=3, in_flight=1)
    run(world)
    _change(world, 100, 2)
    pipeline, queues = _started(world), []
    while pipeline.step():
        queues.append((len(sink.waiting), len(pipeline._flights)))
    assert max(requests for requests, _ in queues) == 1
    assert max(flights for _, flights in queues) == 1 + EMPTY
    world.assert_equal()


def _cursor(until: str = "3:100:", table: str = "a", txid: int = 50) -> Cursor:
    opened = Cursor.start(Snapshot.parse("3:3:")).open(Snapshot.parse(until))
    return opened.advance(Position(table, txid, 1, 1))


def _skimmed() -> StreamPage:
    return StreamPage(Page("a", b"", 0, 1), _cursor(txid=60))


def _sampled(entries: int, repeats: bool = True) -> Backlog:
    return Backlog(entries=entries).sampled(_cursor(), repeats)


@dataclass
class Asked:
    """What the source of a pipeline is asked for, and its answers."""

    samples: list[bool] = field(default_factory=list)
    skims: int = 0

    @classmethod
    def of(cls, pipeline: Pipeline) -> Asked:
        """Listen to the source."""
        asked, source = cls(), cast("Any", pipeline._source)
        sample, skim = source.sample, source.skim

        def sampling(*arguments: object) -> bool:
            asked.samples.append(sample(*arguments))
            return asked.samples[-1]

        def skimming(*arguments: object) -> object:
            asked.skims += 1
            return skim(*arguments)

        source.sample, source.skim = sampling, skimming
        return asked


def test_keys_that_are_all_different_are_not_skimmed() -> None:
    """One sample tells it for a window and a table, however many pages they have."""
    world = _behind(0)
    pipeline = _started(world)
    asked = Asked.of(pipeline)
    for table in ("a", "b"):
        for key in range(100):
            world.write(table, key, value="new")
    assert _written(world, pipeline) == 200
    assert (asked.samples, asked.skims) == ([False, False], 0)


def test_each_window_and_table_is_sampled_once() -> None:
    """Those where keys repeat are skimmed, the others are not."""
    world = _behind(0)
    pipeline = _started(world)
    asked = Asked.of(pipeline)
    found = []
    for tables in ("a", "b", "ab", ""):
        for table in "ab":
            for n in range(120):
                world.write(table, n % (10 if table in tables else 200), value=tables)
        assert _written(world, pipeline) < 300
        found.append((tuple(asked.samples), asked.skims > 0))
        asked.samples.clear()
        asked.skims = 0
    assert found == [
        ((True, False), True), ((False, True), True), ((True, True), True), ((False, False), False),
    ]  # fmt: skip


def test_a_rewind_asks_for_no_second_sample() -> None:
    """The window is the same, and so are its keys."""
    world = _behind(40)
    pipeline, pages = _started(world), count()
    asked = Asked.of(pipeline)
    world.sink._faults = lambda _: Fault.RETRIED if next(pages) in (2, 4) else None
    drain(pipeline)
    world.assert_equal()
    assert asked.samples == [True]
    assert asked.skims > 1


def test_what_is_known_of_a_window_is_not_known_of_others() -> None:
    """A sample counts within one window and one table, and until a whole skim is through."""
    for repeats in (True, False):
        backlog = _sampled(9, repeats)
        assert backlog.due(_cursor(txid=60)) is repeats
        for other in (_cursor("3:200:"), _cursor(table="b")):
            assert not backlog.due(other)
            assert backlog.unknown(other)
            assert not backlog.unknown(_cursor(txid=60))
    skimming = _sampled(9).skim(_skimmed(), ["1"])
    assert not skimming.due(_cursor(txid=60))  # while its ids are still to be looked up
    assert not skimming.unknown(_cursor("3:200:"))
    assert skimming.ended().due(_cursor(txid=60))


def test_what_was_seen_counts_within_one_window_and_table() -> None:
    """Another one begins anew; the next skim of the same one leaves out what was looked up."""
    backlog = _sampled(20).skim(_skimmed(), ["1", "2"]).ended()
    assert backlog.skim(_skimmed(), ["2", "3"]).next(9) == ("3",)
    for other in (_cursor("3:200:"), _cursor(table="b")):
        assert backlog.sampled(other, True).skim(_skimmed(), ["2", "3"]).next(9) == ("2", "3")


def test_a_window_is_skimmed_only_behind_a_full_page() -> None:
    """At the beginning of a window or of its next table nobody knows yet that it is long; where no
    skim would be longer than a page, no sample is worth it."""
    for short in (Cursor.start(Snapshot.parse("3:3:")), _cursor(txid=0)):
        assert not Backlog(entries=9).due(short)
        assert not Backlog(entries=9).unknown(short)
    assert Backlog(entries=9).unknown(_cursor())
    assert not Backlog(entries=9, page=9).unknown(_cursor())
    assert not replace(_sampled(9), page=9).due(_cursor())


def test_skims_of_a_window_begin_short_and_grow() -> None:
    """The sink has pages to work on while keys are listed; failures make them shorter still."""
    backlog, lengths = Backlog.begun(100_000, 10_000), []
    for _ in range(4):
        backlog = backlog.passed(closes=False)
        lengths.append(backlog.entries)
    assert lengths == [20_000, 40_000, 80_000, 100_000]
    assert backlog.passed(closes=True).passed(closes=False).entries == 20_000
    assert backlog.rewound().rewound().passed(closes=True).entries == 100_000 // 256 * 2
    assert Backlog.begun(0, 10_000).passed(closes=False).entries == 0


def test_what_is_remembered_is_bounded() -> None:
    """Beyond the bound no more keys are remembered; those that are still count as seen."""
    first = [str(n) for n in range(MAX_SEEN)]
    backlog = _sampled(MAX_SEEN).skim(_skimmed(), first)
    assert len(backlog.seen) == MAX_SEEN
    backlog = backlog.ended().skim(_skimmed(), [*first[:5], "x", "y"])
    assert backlog.next(10) == ("x", "y")
    assert len(backlog.seen) == MAX_SEEN
