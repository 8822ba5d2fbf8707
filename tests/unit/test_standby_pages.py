"""What the pipeline and the daemon do for a standby: pages in turn, identities, waiting."""

from __future__ import annotations

import doctest
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from unittest import mock

import pytest

from tests.unit.pipelines import OPTIONS, A, World, drain
from txid_sync import recovery
from txid_sync.cursor import Cursor
from txid_sync.daemon import Daemon, DaemonOptions
from txid_sync.errors import SourceBehind, SourceUnavailable
from txid_sync.model import Ack, Limits, LoadPage, Page, Reading
from txid_sync.pipeline import Pipeline
from txid_sync.recovery import may_be_marked, may_be_same_history, same_history
from txid_sync.sinks.memory import Fault, MemorySink
from txid_sync.sources import postgres_standby
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.postgres_server import Memory
from txid_sync.sources.postgres_standby import RECEIVER_SECONDS, Standby

IDENTITY = {"system_identifier": "1", "timeline": "00000001", "database_oid": "5",
            "role": "standby", "server": "a 5432 7"}  # fmt: skip
PRIMARY = {name: IDENTITY[name] for name in ("system_identifier", "timeline", "database_oid")}


class Answer(Future[Ack]):
    """An answer that comes only when somebody waits for it."""

    def __init__(self, sink: SlowSink, page: Page) -> None:
        super().__init__()
        self.sink, self.page = sink, page

    def result(self, timeout: float | None = None) -> Ack:
        """Let the sink apply the page, then answer."""
        if not self.done():
            self.sink.answer(self)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The same, for an answer that is thrown away."""
        if not self.done():
            self.sink.answer(self, Fault.REFUSED if self.sink.loses else None)
        return super().exception(timeout)


class SlowSink(MemorySink):
    """Answers as late as possible, and notes what is under way together."""

    def __init__(self, retried: int = 0, loses: bool = False) -> None:
        super().__init__()
        self.loses = loses
        self.under_way: list[Answer] = []
        self.most = self.equal = 0
        self.retried = retried

    def submit(self, page: Page) -> Future[Ack]:
        """Keep the page until its answer is waited for."""
        self.equal += any(other.page.version == page.version for other in self.under_way)
        answer = Answer(self, page)
        self.under_way.append(answer)
        self.most = max(self.most, len(self.under_way))
        return answer

    def answer(self, answer: Answer, fault: Fault | None = None) -> None:
        """Apply and answer; the first few are said to have been sent twice."""
        self.under_way.remove(answer)
        self.retried -= 1
        fault = fault or (Fault.RETRIED if self.retried >= 0 else None)
        self._faults = lambda _: fault
        self._answer(answer.page, answer)


class InexactSource(MemorySource):
    """Pages as a standby gives them: of equal versions, but not of equal content."""

    place = 0

    def poll(self, cursor: Cursor, epoch: int, limits: Limits) -> Reading:
        """A page that is not exact."""
        reading = super().poll(cursor, epoch, limits)
        if reading.page is None:
            return reading
        self.place += 1
        page = replace(reading.page.page, exact=False, place=self.place)
        return replace(reading, page=replace(reading.page, page=page))

    def load(
        self, document: str, after: tuple[str, ...] | None, epoch: int, limits: Limits
    ) -> LoadPage:
        """A page that is not exact."""
        loaded = super().load(document, after, epoch, limits)
        return replace(loaded, page=replace(loaded.page, exact=False))


def pipeline_of(world: World, source: MemorySource) -> Pipeline:
    """A pipeline over one document."""
    return Pipeline("main", source, world.sink, world.store, [A], OPTIONS)


@pytest.mark.parametrize("retried", [0, 3])
@pytest.mark.parametrize("source", [MemorySource, InexactSource])
def test_pages_of_equal_versions_go_in_turn(source: type[MemorySource], retried: int) -> None:
    """Those of a standby wait for each other, those of a primary do not; what a retry makes be read
    again is not passed over."""
    world, sink = World(), SlowSink(retried)
    world.sink = sink
    world.write("a", *range(9))
    pipeline = pipeline_of(world, source(world.database, [A]))
    pipeline.start()
    drain(pipeline)
    world.write("a", *range(20), value="y")
    drain(pipeline)
    assert world.index("a") == world.table("a")
    assert (sink.equal == 0) == (source is InexactSource)
    assert sink.most > 1 or source is InexactSource


def test_a_page_that_waited_is_not_sent_after_what_is_read_again() -> None:
    """While a page waits for its turn, an older answer makes all that follows be read again: the
    page is dropped too, or progress would pass over what was thrown away."""
    world, sink = World(), SlowSink()
    world.sink = sink
    source, options = InexactSource(world.database, [A]), replace(OPTIONS, in_flight=3)
    pipeline = Pipeline("main", source, sink, world.store, [A], options)
    pipeline.start()
    drain(pipeline)
    world.write("a", *range(10))
    pipeline.step()
    world.write("b", 1)
    pipeline.step()
    assert len({answer.page.version for answer in sink.under_way}) == 2
    sink.retried, sink.loses = 1, True
    pipeline.step()
    sink.loses = False
    drain(pipeline)
    assert world.index("a") == world.table("a")


def test_the_place_is_kept_and_handed_to_the_next_process() -> None:
    """Progress holds how far the source had come; the next process tells its source before
    anything is read."""
    world, told = World(), list[tuple[Mapping[str, str], int]]()

    class Listening(InexactSource):
        def resume(self, identity: Mapping[str, str], place: int) -> None:
            told.append((identity, place))

    world.write("a", 1)
    for _ in range(2):
        source = Listening(world.database, [A])
        pipeline = pipeline_of(world, source)
        pipeline.start()
        drain(pipeline)
        world.write("a", 2)
        drain(pipeline)
        assert pipeline.progress.place >= source.place > 0
        pipeline.stop()
    assert told == [(world.database.identity(), 1)]
    pipeline.resync("asked for")
    assert pipeline.progress.place == 0, "another beginning has another place"


def test_B04_a_standby_that_is_behind_is_waited_for_without_end() -> None:
    """Waiting does not count as a failed attempt to connect."""
    world, stop = World(), threading.Event()

    class Behind(MemorySource):
        left = 7

        def connect(self) -> None:
            self.left -= 1
            if self.left >= 0:
                raise SourceBehind("waiting")
            super().connect()

    world.write("a", 1)
    pipeline = pipeline_of(world, Behind(world.database, [A]))
    options = DaemonOptions(connect_attempts=2, retry_period_seconds=0.001)
    Daemon(pipeline, options, stop).run(once=True)
    assert world.index("a") == world.table("a")


def test_B07_a_source_that_is_away_is_tried_so_often() -> None:
    """Other failures end the program after `connect_attempts`."""
    world, attempts = World(), list[int]()

    class Away(MemorySource):
        def connect(self) -> None:
            attempts.append(1)
            raise SourceUnavailable("away")

    options = DaemonOptions(connect_attempts=3, retry_period_seconds=0.001)
    pipeline = pipeline_of(world, Away(world.database, [A]))
    with pytest.raises(SourceUnavailable):
        Daemon(pipeline, options, threading.Event()).run()
    assert len(attempts) == 3


@pytest.mark.parametrize(
    ("known", "found", "same"),
    [
        (PRIMARY, {}, True),
        (PRIMARY, {"timeline": "00000002"}, False),
        (PRIMARY, {"role": "standby", "server": "a 5432 7"}, False),
        (IDENTITY, {}, True),
        (IDENTITY, {"timeline": "00000002"}, True),  # the same running server
        (IDENTITY, {"timeline": ""}, True),
        (IDENTITY, {"server": "b 5432 9"}, True),  # the same timeline
        (IDENTITY, {"server": "b 5432 9", "timeline": "00000002"}, False),
        (IDENTITY, {"server": "b 5432 9", "timeline": ""}, False),
        ({**IDENTITY, "timeline": ""}, {"server": "b 5432 9"}, False),
        (IDENTITY, {"system_identifier": "2"}, False),
        (IDENTITY, {"database_oid": "6"}, False),
        ({**IDENTITY, "role": "promoted"}, {"server": "b"}, False),
    ],
)
def test_B06_F12_who_is_of_the_same_history(
    known: Mapping[str, str], found: Mapping[str, str], same: bool
) -> None:
    """The table of rule 8, in both directions where it has no direction."""
    assert same_history(known, {**known, **found}) is same
    assert same_history({**known, **found}, known) is same


def test_only_a_timeline_that_is_not_shown_yet_may_still_tell() -> None:
    """Waiting for a WAL receiver makes sense on another standby only, if its timeline decides."""
    other = {**IDENTITY, "server": "b", "timeline": ""}
    assert may_be_same_history(IDENTITY, other)
    assert not may_be_same_history({**IDENTITY, "timeline": ""}, other)
    assert not may_be_same_history(IDENTITY, {**other, "timeline": "00000002"})
    assert not may_be_same_history(IDENTITY, {**other, "system_identifier": "2"})
    assert not may_be_same_history(PRIMARY, other)


def test_a_marker_can_be_written_to_a_primary_only() -> None:
    """Rule 9."""
    assert may_be_marked(PRIMARY)
    assert not may_be_marked(IDENTITY)


def test_a_change_of_timeline_under_the_same_server_is_kept() -> None:
    """The identity in progress follows, so that another server can be told from it later."""
    world = World()
    world.database.change_identity(**IDENTITY)
    pipeline = pipeline_of(world, MemorySource(world.database, [A]))
    pipeline.start()
    drain(pipeline)
    world.database.change_identity(timeline="00000002")
    world.write("a", 1)
    drain(pipeline)
    assert pipeline.progress.identity["timeline"] == "00000002"
    assert pipeline.progress.epoch == 1
    world.database.change_identity(timeline="00000001", server="b")
    drain(pipeline)
    assert pipeline.progress.epoch == 2


def test_doctests() -> None:
    """The examples of recovery.py."""
    assert doctest.testmod(recovery).failed == 0


def test_after_a_resync_a_receiver_is_waited_for_as_long_as_at_first() -> None:
    """The patience that one standby has used up is not missing for the next outage."""
    memory = Memory(IDENTITY, 5, receiver_missing_since_seconds=7.0)
    memory.begin(IDENTITY, 9)
    assert (memory.place, memory.receiver_missing_since_seconds) == (9, 0.0)


def test_a_receiver_that_came_back_is_waited_for_as_long_the_next_time() -> None:
    """Also on a server that was met without a page of it, since nothing has changed meanwhile."""
    standby = Standby(mock.Mock(), Memory(IDENTITY, 5))

    def told(server: str, timeline: str) -> str:
        row = {**IDENTITY, "server": server, "timeline": timeline, "pid": 1}
        try:
            return "found " + standby.identity_of(row)["server"]
        except SourceBehind:
            return "waited for"

    with mock.patch.object(postgres_standby.time, "monotonic", return_value=100.0) as clock:
        assert [told("b", ""), told("b", "00000001")] == ["waited for", "found b"]
        clock.return_value += RECEIVER_SECONDS
        assert told("b", "") == "found b", "the same running server, whatever it shows"
        assert [told("c", ""), told("c", "00000001")] == ["waited for", "found c"]
        clock.return_value += RECEIVER_SECONDS
        assert told("d", "") == "waited for"
        clock.return_value += RECEIVER_SECONDS
        assert told("d", "") == "found d", "not for ever"
