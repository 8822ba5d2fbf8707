"""When a pipeline prunes the change logs, and what it leaves for others; in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit.pipelines import OPTIONS, A, B, World, drain
from txid_sync import upkeep
from txid_sync.cursor import Cursor
from txid_sync.errors import PreconditionError, SourceUnavailable, TxidSyncError
from txid_sync.model import Limits
from txid_sync.pipeline import Pipeline, PipelineOptions
from txid_sync.progress.memory import MemoryProgress, SaveFault
from txid_sync.sinks.memory import MemorySink
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.memory_wal import wanted_of

PRUNING = replace(OPTIONS, prune_interval_seconds=10.0)


class Noted(MemorySource):
    """A source that notes its calls of prune and begin, and may refuse to prune."""

    refusal: TxidSyncError | None = None

    def __init__(self, world: World) -> None:
        super().__init__(world.database, (A, B))
        self.calls: list[object] = []
        self.batch_full = 0

    def prune(self, document: str, reader: str, wanted: int | None, batch: int) -> int:
        """Note it, and do it unless refused."""
        self.calls.append((document, wanted))
        if self.refusal is not None:
            raise self.refusal
        deleted = super().prune(document, reader, wanted, batch)
        self.batch_full -= 1
        return batch if self.batch_full >= 0 else deleted

    def begin(self) -> tuple[Cursor, int]:
        """Note it."""
        self.calls.append("begin")
        return super().begin()


def pruning(world: World, source: MemorySource | None = None, name: str = "main") -> Pipeline:
    """A pipeline with a store and an index of its own for each name but main."""
    main = name == "main"
    made = Pipeline(
        name, source or MemorySource(world.database, (A, B)),
        world.sink if main else MemorySink(), world.store if main else MemoryProgress(),
        (A, B), PRUNING, seconds=lambda: world.now_seconds,
    )  # fmt: skip
    made.start()
    return made


def log_rows(world: World, table: str = "a") -> int:
    """How many rows a log holds."""
    return len(world.database.log(table, world.database.snapshot()))


def many(step: Callable[[], bool]) -> None:
    """More steps than anything takes."""
    for _ in range(50):
        step()


def stored_txid(world: World) -> int:
    """The lowest txid that stored progress wants."""
    stored = world.store.load("main")
    assert stored is not None
    return stored[0].cursor.done.lowest_open


def test_a_running_pipeline_prunes_what_it_has_stored() -> None:
    """After the interval the log holds nothing that was read; the cursor is never overtaken."""
    world = World()
    pipeline = pruning(world)
    drain(pipeline)
    for n in range(5):
        world.write("a", n)
        drain(pipeline)
        assert log_rows(world) == 1, "not yet: once per interval"
        world.now_seconds += 11
        drain(pipeline)
        assert (log_rows(world), pipeline.status().resyncs) == (0, 0)
        assert world.database.pruned("a") < stored_txid(world)
    world.assert_equal()


def test_an_idle_pipeline_notes_nothing() -> None:
    """It takes no txid, however much time goes by; nor does one that starts again."""
    world = World()
    world.write("a", 1)
    source = Noted(world)
    pipeline = pruning(world, source)
    drain(pipeline)
    world.write("a", 2)
    drain(pipeline)
    world.now_seconds += 11
    drain(pipeline)
    before = world.database.state.next_txid
    source.calls.clear()
    for _ in range(5):
        world.now_seconds += 100
        drain(pipeline)
    assert source.calls == []
    pipeline.stop()
    again = pruning(world)
    drain(again)
    assert world.database.state.next_txid == before


def test_a_reader_is_noted_before_its_cursor_begins() -> None:
    """So no prune of others, however timed, can overtake the cursor; again for a resync."""
    world = World()
    source = Noted(world)
    pipeline = pruning(world, source)
    assert source.calls[:3] == [("a", None), ("b", None), "begin"]
    source.calls.clear()
    pipeline.resync("asked for")
    assert source.calls[:3] == [("a", None), ("b", None), "begin"]


def test_B18_the_slower_of_two_pipelines_is_waited_for() -> None:
    """Two pipelines of one log: what one has not stored stays, and neither ever resyncs."""
    world = World()
    fast, slow = pruning(world), pruning(world, name="slow")
    for n in range(4):
        world.write("a", n)
        world.now_seconds += 11
        drain(fast)
        assert log_rows(world) == n + 1
    for _ in range(2):
        world.now_seconds += 11
        drain(fast)
        assert log_rows(world) >= 1
        drain(slow)
    world.now_seconds += 11
    drain(slow)
    assert log_rows(world) == 0
    assert (fast.status().resyncs, slow.status().resyncs) == (0, 0)


def test_pipelines_of_one_name_but_other_indices_do_not_meet() -> None:
    """Both are called main; each is waited for."""
    world, other = World(), World()
    other.sink._made = 100  # uuids that no other index has
    first = pruning(world)
    other.database = world.database
    second = pruning(other)
    world.write("a", 1)
    world.now_seconds += 11
    drain(first)
    assert log_rows(world) == 1
    assert len(wanted_of(world.database.state.wal, "a")) == 2
    drain(second)
    assert second.status().resyncs == 0


def test_only_what_is_stored_counts() -> None:
    """Progress that could not be saved, or is not saved yet, lets no row go."""
    world = World()
    faults: list[SaveFault] = []
    world.store = MemoryProgress(lambda _: faults[0] if faults else None)
    pipeline = pruning(world)
    drain(pipeline)
    faults.append(SaveFault.REFUSED)
    world.write("a", 1)
    world.now_seconds += 11
    with pytest.raises(TxidSyncError):
        many(pipeline.step)
    world.now_seconds += 11
    with pytest.raises(TxidSyncError):
        many(pipeline.recover_and_step)
    assert log_rows(world) == 1
    faults.clear()
    drain(pipeline)
    world.now_seconds += 11
    drain(pipeline)
    assert log_rows(world) == 0


def test_an_unsaved_cursor_lets_no_row_go() -> None:
    """While a save is not due, what was acknowledged since the last one stays."""
    world = World(options=replace(PRUNING, save_interval_seconds=6.0))
    made = Pipeline(
        "main", MemorySource(world.database, (A, B)), world.sink, world.store, (A, B),
        world.options, seconds=lambda: world.now_seconds,
    )  # fmt: skip
    made.start()
    drain(made)
    for at_seconds, key in ((6, 0), (7, 1), (12, 0), (13, 2), (18, 0), (21, 3), (22, 0)):
        world.now_seconds = at_seconds
        if key:
            world.write("a", key)
        drain(made)
    assert made.progress.cursor.done.lowest_open > stored_txid(world)
    assert log_rows(world) == 1
    world.now_seconds = 40
    drain(made)
    assert log_rows(world) == 0


def test_a_full_batch_goes_on_at_the_next_step() -> None:
    """A long log is not left for the next interval, and pages are read in between."""
    world = World()
    source = Noted(world)
    pipeline = pruning(world, source)
    drain(pipeline)
    world.write("a", 1)
    world.now_seconds += 11
    source.calls.clear()
    source.batch_full = 4
    drain(pipeline)
    assert len(source.calls) >= 6
    assert upkeep.PRUNE_BATCH >= 1000


def test_a_missing_right_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The pipeline goes on without pruning, and does not ask again."""
    world = World()
    source = Noted(world)
    source.refusal = PreconditionError("permission denied", "txid-sync init --reader ROLE")
    with caplog.at_level(logging.WARNING, "txid_sync"):
        pipeline = pruning(world, source)
        for n in range(4):
            world.write("a", n)
            world.now_seconds += 11
            drain(pipeline)
    (said,) = [r.getMessage() for r in caplog.records if "not pruned" in r.getMessage()]
    assert "permission denied" in said and "init --reader" in said
    assert len(source.calls) == 2, "one attempt, and begin"
    world.assert_equal()


def test_a_prune_that_fails_is_tried_again_later() -> None:
    """A lock that is not to be had ends nothing; after the interval it is tried again."""
    world = World()
    source = Noted(world)
    pipeline = pruning(world, source)
    drain(pipeline)
    world.write("a", 1)
    world.now_seconds += 11
    source.refusal = SourceUnavailable("lock not available")
    source.calls.clear()
    drain(pipeline)
    assert len(source.calls) == 1
    source.refusal = None
    drain(pipeline)
    assert log_rows(world) == 1, "not before the interval"
    world.now_seconds += 11
    drain(pipeline)
    assert log_rows(world) == 0
    world.assert_equal()


def test_without_an_interval_nothing_is_noted() -> None:
    """0 is off: no reader, no row deleted."""
    world = World()
    world.options = PipelineOptions(Limits(documents=2), save_interval_seconds=0.0)
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    world.write("a", 1)
    world.now_seconds += 1000
    drain(pipeline)
    assert (log_rows(world), wanted_of(world.database.state.wal, "a")) == (1, {})


def test_an_open_transaction_keeps_its_rows_and_the_later_ones() -> None:
    """A cursor that begins beside it would want them; late commits arrive."""
    world = World()
    pipeline = pruning(world)
    drain(pipeline)
    late = world.database.connect()
    late.begin()
    late.write("b", {("1",): '{"k":1,"v":"late"}'})
    for n in range(3):
        world.write("a", n)
        world.now_seconds += 11
        drain(pipeline)
    assert log_rows(world) == 3
    late.commit()
    drain(pipeline)
    world.now_seconds += 11
    drain(pipeline)
    assert (log_rows(world), log_rows(world, "b"), pipeline.status().resyncs) == (0, 0, 0)
    world.assert_equal()
