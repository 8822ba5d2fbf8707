"""Rules that only show when answers come late, or at a boundary: each test ends a small mutation.

`SlowSink` answers a page only when somebody waits for it, so that several are under way.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

import pytest

from tests.unit.pipelines import OPTIONS, A, B, World, drain, run, started
from txid_sync import continuity
from txid_sync.errors import Discontinuity, PageExpired
from txid_sync.inflight import Flight, InFlight
from txid_sync.model import Ack, Document, Page, epoch_of
from txid_sync.pipeline import Pipeline
from txid_sync.sinks.memory import Fault, MemoryIndex, MemorySink
from txid_sync.sweep import candidates, swept


class Waited(Future[Ack]):
    """An answer that comes when it is waited for."""

    def __init__(self, work: Callable[[], Future[Ack]]) -> None:
        super().__init__()
        self._work = work

    def _run(self) -> None:
        if not self.done():
            error = (answer := self._work()).exception()
            if error is None:
                self.set_result(answer.result())
            else:
                self.set_exception(error)

    def result(self, timeout: float | None = None) -> Ack:
        """Do the work, then answer."""
        self._run()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Do the work, then tell how it ended."""
        self._run()
        return super().exception(timeout)

    def cancel(self) -> bool:
        """It is under way already."""
        return False


class SlowSink(MemorySink):
    """Applies a page when its answer is waited for; `waiting` are those that nobody waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Page] = []

    def submit(self, page: Page) -> Future[Ack]:
        """Keep the page until somebody waits."""
        self.waiting.append(page)

        def work() -> Future[Ack]:
            self.waiting.remove(page)
            return super(SlowSink, self).submit(page)

        return Waited(work)


def two_held(world: World) -> Pipeline:
    """A pipeline with two pages under way at a sink that answers when told."""
    pipeline = started(world)
    world.sink._hold = True
    world.write("a", 1, 2, 3, 4)
    pipeline.step()
    pipeline.step()
    assert len(world.sink.held) == 2
    return pipeline


def test_an_answer_that_overtakes_moves_nothing() -> None:
    """Progress waits for the oldest page, then moves over both."""
    world = World()
    pipeline = two_held(world)
    before = pipeline.progress.cursor
    world.sink.release(1)
    pipeline._collect(wait=False)
    assert pipeline.progress.cursor == before
    world.sink.release(0)
    pipeline._collect(wait=False)
    assert pipeline.progress.cursor.done.xmax > before.done.xmax


def test_H10_pages_behind_a_retried_one_are_read_again() -> None:
    """The answer of a page sent after a retried one does not count; the page is sent once more."""
    world = World()
    pipeline = two_held(world)
    first, second = (page for page, _ in world.sink.held)
    world.sink._faults = lambda page: Fault.RETRIED if page is first else None
    world.sink.release(1)
    world.sink.release(0)
    pipeline._collect(wait=False)
    assert pipeline.progress.cursor.window is not None
    pipeline.step()
    assert [page.body for page, _ in world.sink.held] == [second.body]


def test_a_new_epoch_is_stored_before_it_is_sent() -> None:
    """Whenever a page arrives at the sink, stored progress has at least its epoch."""
    world = World()
    world.write("a", *range(5))
    pipeline = started(world)
    seen = []

    def watch(page: Page) -> None:
        stored = world.store.load("main")
        assert stored is not None
        seen.append((epoch_of(page.version), stored[0].epoch))

    world.sink._faults = watch
    pipeline.resync("asked for")
    drain(pipeline)
    assert seen and all(sent <= stored for sent, stored in seen)


def test_a_sweep_begins_when_nothing_is_under_way() -> None:
    """The scan of a sweep sees every page that was read before."""
    sink, under_way = SlowSink(), list[int]()
    world = World(sink=sink)
    world.write("a", *range(10))
    pipeline = started(world)
    begin = pipeline._begin_sweep

    def watched(name: str) -> None:
        under_way.append(len(sink.waiting))
        begin(name)

    pipeline._begin_sweep = watched  # type: ignore[method-assign]
    with world.database.transaction() as session:
        session.truncate("a")
    world.write("a", *range(20, 40))
    drain(pipeline)
    world.assert_equal()
    assert set(under_way) == {0}


def test_B03_a_load_is_done_when_its_last_page_is_acknowledged() -> None:
    """While pages of a load are under way, stored progress still has the load to do."""
    world = World(sink=SlowSink())
    world.write("a", *range(7))
    pipeline = world.pipeline()
    pipeline.start()
    while pipeline.progress.documents["a"].load:
        pipeline.step()
    assert len(world.index("a")) == 7


def test_the_stream_is_read_beside_a_load() -> None:
    """A change arrives while a load of many pages still runs."""
    world = World()
    world.write("a", *range(100))
    pipeline = world.pipeline()
    pipeline.start()
    for _ in range(10):
        pipeline.step()
    world.write("a", 99, value="changed")
    for _ in range(6):
        pipeline.step()
    assert pipeline.status().loading == ("a", "b")
    assert world.index("a")["99"] == {"k": 99, "v": "changed"}


def test_F15_a_truncation_in_mid_load_is_swept() -> None:
    """What the load wrote before a TRUNCATE goes, although the load's own sweep asks for less."""
    world = World()
    world.write("a", *range(10))
    pipeline = world.pipeline()
    pipeline.start()
    for _ in range(4):
        pipeline.step()
    assert world.index("a") and pipeline.progress.documents["a"].load
    with world.database.transaction() as session:
        session.truncate("a")
    drain(pipeline)
    world.assert_equal()


def test_a_sweep_does_not_end_a_later_one() -> None:
    """Only the sweep that was asked for last is done when it ends."""
    progress = run(World()).progress.with_document("a", sweep_below=20, sweep_asked=True)
    assert swept("a", 10)(progress) == progress
    assert swept("a", 20)(progress).documents["a"].sweep_below == 0


def test_the_sink_is_complete_up_to_the_beginning_of_a_closed_window() -> None:
    """Not before the last page of the window, and not up to the clock of that page."""
    world = World()
    pipeline = started(world)
    world.write("a", 1, 2, 3)
    begin = pipeline._source.clock()
    pipeline.step()
    pipeline._collect(wait=True)
    assert pipeline.status().complete_clock < begin
    world.write("b", 1)
    pipeline.step()
    pipeline._collect(wait=True)
    assert pipeline.progress.cursor.window is None
    assert pipeline.status().complete_clock == begin < pipeline._source.clock()


def test_an_idle_poll_says_nothing_while_pages_are_under_way() -> None:
    """The sink is not complete before the last answer."""
    world = World(sink=SlowSink())
    pipeline = started(world)
    world.write("a", 1)
    pipeline.step()
    assert pipeline._read_stream() is False
    assert pipeline.status().complete_clock < pipeline.status().clock
    drain(pipeline)
    assert pipeline.status().lag_transactions == 0


def test_a_page_of_a_changed_table_is_not_sent() -> None:
    """The page itself shows the change, whenever the catalog is looked at next."""
    world = World()
    pipeline = started(world)
    world.database.alter("a", fingerprint="other columns")
    world.write("a", 1)
    drain(pipeline)
    assert pipeline.status().resyncs == 1
    world.assert_equal()


def test_the_gate_is_not_waited_for_beyond_the_deadline() -> None:
    """A source that never flushes gives the page back."""
    world = World(now_seconds=100.0)
    asked = iter([False] * 3)
    page = Page("a", b"", 0, 1, ready=lambda: next(asked), read_at_seconds=1.0)
    with pytest.raises(PageExpired):
        world.pipeline()._wait_for_gate(page)


@pytest.mark.parametrize("recovers", [False, True])
def test_F12_an_index_that_is_gone_is_noticed_without_writes_to_it(recovers: bool) -> None:
    """By the look at the catalog: after its interval, and at once after an outage."""
    world = World()
    world.write("b", 1, 2)
    pipeline = started(world)
    world.sink.drop_index("b")
    if recovers:
        pipeline.recover()
    else:
        world.write("a", 1)
        drain(pipeline)
        world.now_seconds += 100
    drain(pipeline)
    assert pipeline.status().resyncs == 1
    world.assert_equal()


def test_progress_is_saved_at_the_interval_and_at_the_end() -> None:
    """Between two saves many pages may pass; `stop` saves the rest."""
    world = World(options=replace(OPTIONS, save_interval_seconds=1000.0))
    pipeline = started(world)
    saves = world.store.saves
    for n in range(5):
        world.write("a", n)
        drain(pipeline)
    assert world.store.saves == saves
    pipeline.stop()
    stored = world.store.load("main")
    assert stored is not None and stored[0] == pipeline.progress


def test_H11_a_page_with_dead_letters_alone_is_sent() -> None:
    """They are kept, although the page has no action."""
    world = World()
    pipeline = started(world)
    with world.database.transaction() as session:
        session.write("a", {("x" * 600,): "{}"})
    drain(pipeline)
    assert world.sink.dead_letters()[0] == pipeline.status().dead_letters == 1


def test_abandoned_flights_are_waited_for() -> None:
    """Nothing is on its way any more when reading begins anew."""
    sink, flights = SlowSink(), InFlight(4)
    flights.add(Flight(None, sink.submit(Page("a", b"", 0, 1)), lambda progress: progress))
    flights.abandon()
    assert (sink.waiting, flights.head) == ([], None)


def test_F08_a_clock_below_what_was_sent_is_a_discontinuity() -> None:
    """The greatest version that was ever sent counts, not the last one."""
    world = World()
    world.write("a", 1)
    keeper = started(world)._keeper
    sent = keeper.progress.highest_version
    keeper.apply(lambda progress: progress, Page("a", b"", 0, 1), 0)
    assert keeper.progress.highest_version == sent
    with pytest.raises(Discontinuity, match="went back"):
        keeper.check_reading(keeper.progress.identity, 0)


def test_resyncs_that_helped_are_not_counted() -> None:
    """Any number of resyncs is fine as long as the pipeline comes to rest between them."""
    world = World()
    pipeline = started(world)
    for _ in range(8):
        pipeline.resync("asked for")
        drain(pipeline)
    assert pipeline.progress.epoch == 9


def test_another_definition_takes_a_new_epoch() -> None:
    """Other columns of the same row may have the same clock, so the epoch has to tell."""
    world = World(options=replace(OPTIONS, brake_off=True))
    world.write("a", 1)
    run(world)
    changed = world.pipeline(documents=(replace(A, columns=("k",)), B))
    changed.start()
    drain(changed)
    assert (changed.progress.epoch, world.index("a")) == (2, {"1": {"k": 1}})


def test_all_that_defines_a_document_is_in_its_definition() -> None:
    """Table, index, columns and condition each change it."""
    others = [Document("x", "a"), Document("a", "x"), replace(A, columns=("k",)),
              replace(A, where="k > 0")]  # fmt: skip
    assert len({continuity.definition(document) for document in (A, *others)}) == 5


def test_writing_a_document_again_discards_the_open_window() -> None:
    """Its position speaks of documents that may come and go; only `done` is kept."""
    pipeline = run(World())
    found = pipeline._keeper._look()
    cursor = pipeline.progress.cursor
    opened = replace(pipeline.progress, cursor=cursor.open(cursor.done))
    assert continuity.resynced(opened, [A, B], ["a"], found, None).cursor == cursor


def test_an_index_made_just_now_is_not_swept() -> None:
    """It is empty; one that was there is swept after its load."""
    world = World()
    world.write("a", 1)
    pipeline = world.pipeline()
    pipeline.start()
    assert pipeline.progress.documents["a"].load_version == 0
    drain(pipeline)
    pipeline.resync("asked for")
    assert epoch_of(pipeline.progress.documents["a"].load_version) == 2


@pytest.mark.parametrize("share", [0.2, None])
def test_the_brake_lets_exactly_its_share_pass(share: float | None) -> None:
    """Two of ten are a fifth; a document at the bound itself was written by the load."""
    sink = MemorySink()
    documents = {str(n): (n, b"{}") for n in range(1, 11)}
    sink.indices["a"] = MemoryIndex("u", documents)
    found = [id for chunk in candidates(sink, "a", 3, share, print) for id in chunk]
    assert found == ["1", "2"]
