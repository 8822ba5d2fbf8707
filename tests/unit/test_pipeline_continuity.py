"""What the pipeline does when source, sink or configuration are not what progress speaks of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit.pipelines import OPTIONS, A, B, World, drain, run
from txid_sync.errors import PreconditionError, TakenOver, Unavailable
from txid_sync.model import Page, epoch_of
from txid_sync.pipeline import Pipeline
from txid_sync.progress.memory import MemoryProgress, SaveFault
from txid_sync.sinks.memory import MemorySink


def _identity(world: World) -> None:
    world.database.change_identity(timeline="00000002")


def _definition(world: World) -> None:
    world.options = replace(world.options)


def _index_gone(world: World) -> None:
    world.sink.drop_index("a")


def _went_back(world: World) -> None:
    world.database.crash(keep=3)


def _table(world: World) -> None:
    world.database.alter("a", fingerprint="other columns")


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("change", [_identity, _index_gone, _went_back, _table])
def test_F08_F12_discontinuities_are_answered_by_a_resync(
    change: Callable[[World], None], running: bool
) -> None:
    """Another server, an index gone, a source that went back, other columns: equal again."""
    world = World(options=replace(OPTIONS, brake_off=True))
    for n in range(8):
        world.write("a", n)
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    before = pipeline.progress.epoch
    if not running:
        pipeline.stop()
    change(world)
    world.write("a", 1, value="after")
    world.write("a", 99, value="after")
    if not running:
        pipeline = world.pipeline()
        pipeline.start()
    else:
        world.now_seconds += 100
    drain(pipeline)
    world.assert_equal()
    assert pipeline.progress.epoch == before + (change is not _table)


def test_an_index_from_the_future_is_an_alarm() -> None:
    """A document whose version the source has not reached starts a new epoch above it."""
    world = World(options=replace(OPTIONS, brake_off=True))
    world.write("a", 1)
    run(world)
    version, source = world.sink.indices["a"].documents["1"]
    world.sink.indices["a"].documents["1"] = (version + (7 << 48), source)
    world.write("a", 1, value="new")
    pipeline = run(world)
    world.assert_equal()
    assert pipeline.progress.epoch == epoch_of(version) + 8


def test_A19_lost_progress_with_a_filled_index_ends_equal() -> None:
    """Progress was deleted, the index was not: the next start ends equal, ghosts removed."""
    world = World(options=replace(OPTIONS, brake_off=True))
    world.write("a", *range(5))
    run(world)
    world.store.delete("main")
    world.delete("a", 1, 2)
    run(world)
    world.assert_equal()


def test_documents_may_come_and_go() -> None:
    """A document added later is loaded; one taken out keeps its index and is dropped."""
    world = World()
    world.write("a", 1, 2, 3)
    world.write("b", 1)
    only_a = world.pipeline(documents=(A,))
    only_a.start()
    drain(only_a)
    only_a.stop()
    both = run(world)
    world.assert_equal()
    assert set(both.progress.documents) == {"a", "b"}
    world.write("a", 9)
    again = world.pipeline(documents=(B,))
    again.start()
    drain(again)
    again.stop()
    assert set(again.progress.documents) == {"b"}
    assert "9" not in world.index("a")


def test_F06_F13_a_crash_of_the_source_leaves_no_phantom() -> None:
    """What the source forgets in a crash never reaches the sink; reused txids are not missed."""
    world = World()
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    with world.database.transaction(synchronous=False) as session:
        session.write("a", {("1",): '{"k":1,"v":"phantom"}'})
    real = pipeline._wait_for_gate

    def crash_instead(page: Page) -> None:
        world.database.crash()
        pipeline._wait_for_gate = real  # type: ignore[method-assign]
        real(page)

    pipeline._wait_for_gate = crash_instead  # type: ignore[method-assign]
    drain(pipeline)
    assert world.index("a") == {}
    world.write("a", 2)
    drain(pipeline)
    world.assert_equal()


def test_a_resync_that_does_not_help_stops() -> None:
    """A discontinuity that comes back each time ends the program instead of looping for ever."""
    world = World()
    world.write("a", 1)
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    flips = [0]
    original = pipeline._source.identity

    def identity() -> dict[str, str]:
        flips[0] += 1
        return {**original(), "system": str(flips[0])}

    pipeline._source.identity = identity  # type: ignore[method-assign]
    world.now_seconds += 100
    pipeline.resync("begin")
    with pytest.raises(PreconditionError, match="does not help"):
        drain(pipeline)


def test_F21_an_idle_instance_notices_that_it_was_taken_over() -> None:
    """A resync beside a run that has nothing to save ends that run."""
    world = World()
    world.write("a", 1)
    idle = world.pipeline()
    idle.start()
    drain(idle)
    other = world.pipeline()
    other.start()
    other.resync("asked for")
    world.now_seconds += 100
    with pytest.raises(TakenOver):
        drain(idle)


def test_a_new_epoch_is_stored_before_anything_is_sent_under_it() -> None:
    """While the store does not answer, nothing is sent under an epoch that is not stored."""
    refused = [False]
    stored: list[int] = []
    sent: list[tuple[int, int]] = []

    def store_faults(name: str) -> SaveFault | None:
        return SaveFault.REFUSED if refused[0] else None

    def watch(page: Page) -> None:
        found = world.store.other().load("main")
        stored.append(found[0].epoch if found else 0)
        sent.append((epoch_of(page.version), stored[-1]))

    options = replace(OPTIONS, brake_off=True)
    sink = MemorySink(faults=watch)
    world = World(store=MemoryProgress(store_faults), sink=sink, options=options)
    world.write("a", *range(5))
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    world.database.change_identity(timeline="00000002")
    refused[0] = True
    for _ in range(10):
        try:
            pipeline.step()
        except Unavailable:
            pipeline.recover()
    refused[0] = False
    drain(pipeline)
    world.assert_equal()
    assert pipeline.progress.epoch == 2
    assert all(epoch <= kept for epoch, kept in sent)


def _pruned(world: World) -> None:
    world.write("a", 2)
    world.database.prune("a", world.database.snapshot().xmax)


def _go_on(pipeline: Pipeline, starts: bool) -> None:
    if starts:
        pipeline.start()
    drain(pipeline)


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("change", [_identity, _index_gone, _went_back, _table, _pruned])
def test_F08_F12_the_policy_may_be_to_stop(
    change: Callable[[World], None], running: bool
) -> None:
    """With `stop` nothing is written again, at any start, until the operator asks for a resync."""
    world = World(options=replace(OPTIONS, brake_off=True, may_resync=False))
    for n in range(8):
        world.write("a", n)
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    if not running:
        pipeline.stop()
    change(world)
    world.write("a", 99, value="after")
    stored = world.store.load("main")
    for attempt in range(3):
        starts = attempt > 0 or not running
        if starts:
            pipeline = world.pipeline()
        world.now_seconds += 100
        with pytest.raises(PreconditionError, match="txid-sync resync"):
            _go_on(pipeline, starts)
        assert world.store.load("main") == stored
    world.options = replace(world.options, may_resync=True)
    pipeline = world.pipeline()
    pipeline.start()
    pipeline.resync("asked for")
    pipeline.stop()
    world.options = replace(world.options, may_resync=False)
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    world.assert_equal()


def test_a_new_document_is_no_discontinuity() -> None:
    """With `stop` a document that was added to the configuration is loaded all the same."""
    world = World(options=replace(OPTIONS, may_resync=False))
    world.write("a", 1)
    world.write("b", 2)
    first = world.pipeline(documents=(A,))
    first.start()
    drain(first)
    first.stop()
    both = world.pipeline()
    both.start()
    drain(both)
    world.assert_equal()
