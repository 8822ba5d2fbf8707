"""The number of workers changes: nothing is lost, nothing is loaded again, whoever dies."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.failpoints.effects import Death, Effects, counted
from tests.unit.pipelines import OPTIONS, A, B, World, drain
from tests.unit.sharing import KEYS, Recording, filled, follow, sent, sound, start, world_of
from txid_sync.errors import TakenOver
from txid_sync.pipeline import Pipeline
from txid_sync.progress.base import Fence, Progress, ProgressStore
from txid_sync.progress.memory import MemoryProgress
from txid_sync.share import Share
from txid_sync.shares import stored_shares
from txid_sync.sources.base import Source
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.memory_wal import wanted_of


@pytest.mark.parametrize(("old", "new"), list(itertools.permutations([1, 2, 3, 5], 2)))
def test_A10_the_number_can_be_changed_without_a_load(old: int, new: int) -> None:
    """The new workers go on where all old ones are: only what changed is sent again."""
    world = filled(old)
    world.write("a", 1, 2, 3, value="y")
    world.delete("a", 4)
    before = len(sent(world))
    follow(world, new)
    world.assert_equal()
    assert set(sent(world)[before:]) == {"1", "2", "3", "4"}
    assert {share.of for share in stored_shares(world.store, "main")} == {new}


def test_workers_go_on_from_what_all_have_done() -> None:
    """Of three, one is behind in an open window, one has done all: what either lacks is read."""
    world = filled(3)
    ahead, behind, away = start(world, 3)
    for number in range(6):
        world.write("a", *KEYS, value=f"y{number}")
    drain(ahead)
    ahead.stop()
    while behind.progress.cursor.window is None:
        behind.step()
    behind.stop()
    del away
    sound(world)
    follow(world, 2)
    world.assert_equal()


def test_old_workers_stop_at_their_next_save() -> None:
    """They end with TakenOver; what they sent is harmless, what they would count is not kept."""
    world = filled(2)
    old = start(world, 2)
    new = start(world, 3)
    world.write("a", *KEYS, value="y")
    for pipeline in old:
        with pytest.raises(TakenOver, match="number of workers"):
            drain(pipeline)
    for pipeline in new:
        drain(pipeline)
    world.assert_equal()
    sound(world)


def test_a_single_process_stops_when_workers_have_begun() -> None:
    """And a worker when a single process has: the one who was started last goes on."""
    world = filled(1)
    (single,) = start(world, 1)
    workers = start(world, 2)
    world.write("a", 1, value="y")
    with pytest.raises(TakenOver):
        drain(single)
    (single,) = start(world, 1)
    world.write("a", *KEYS, value="z")
    for worker in workers:
        with pytest.raises(TakenOver):
            drain(worker)
    drain(single)
    world.assert_equal()


def test_an_idle_worker_notices_that_the_number_changed() -> None:
    """Without a save too: now and then it looks at the base."""
    world = filled(2)
    old = start(world, 2)
    for pipeline in old:
        drain(pipeline)
    start(world, 3)
    world.now_seconds += 1000
    for pipeline in old:
        with pytest.raises(TakenOver, match="number of workers"):
            pipeline.step()


def test_progress_of_an_earlier_time_counts_for_nothing() -> None:
    """A worker of a former number that stored something at the wrong moment: back at that number,
    its progress is not followed."""
    world = filled(2)
    stale = world.store.load("main/1of2")
    assert stale is not None
    follow(world, 3)
    world.store.save("main/1of2", stale[0], None)
    world.write("a", *KEYS, value="y")
    follow(world, 3)
    world.database.prune("a", world.database.snapshot().xmax)
    for pipeline in start(world, 2):
        drain(pipeline)
        assert (pipeline.status().epoch, pipeline.status().resyncs) == (1, 0)
    world.assert_equal()


class Interrupted(MemoryProgress):
    """A store in which something happens right before the second time that it is asked."""

    meanwhile: Callable[[], None] | None = None
    asked = 0

    def load(self, pipeline: str) -> tuple[Progress, Fence] | None:
        """Perhaps let it happen, then load."""
        self._ask()
        return super().load(pipeline)

    def save(self, pipeline: str, progress: Progress, fence: Fence | None) -> Fence:
        """Perhaps let it happen, then save."""
        self._ask()
        return super().save(pipeline, progress, fence)

    def _ask(self) -> None:
        if self.meanwhile is not None:
            self.asked += 1
            if self.asked == 2:
                meanwhile, self.meanwhile = self.meanwhile, None
                meanwhile()


def test_what_is_stored_in_the_moment_of_the_change_is_not_lost() -> None:
    """A resync is asked for between reading the old progress and storing the new base."""
    store = Interrupted()
    world = World(sink=Recording(), store=store)
    world.write("a", *KEYS)
    follow(world, 1)
    (single,) = start(world, 1)
    store.meanwhile = lambda: single.resync("asked for")
    before = len(sent(world))
    follow(world, 2)
    assert store.meanwhile is None
    assert set(sent(world)[before:]) == set(map(str, KEYS))
    assert {p.epoch for p in stored_shares(world.store, "main").values()} == {2}
    world.assert_equal()


def test_a_worker_that_never_ran_is_missed_by_nobody_else() -> None:
    """Two of three run; when their number changes, the share of the third is loaded."""
    world = World(sink=Recording())
    world.write("a", *KEYS)
    for share in Share.all(3)[:2]:
        pipeline = world.pipeline(share=share)
        pipeline.start()
        drain(pipeline)
        pipeline.stop()
    assert not any(Share(3, 3).holds(id) for id in world.index("a"))
    follow(world, 2)
    world.assert_equal()


def test_what_one_had_to_do_is_done_by_all() -> None:
    """The number changes in the middle of loads, and while the sweep of one is due."""
    world = World(sink=Recording())
    world.write("a", *KEYS)
    first, second = start(world, 2)
    drain(first)
    first.stop()
    second.step()
    second.stop()
    follow(world, 3)
    world.assert_equal()
    with world.database.transaction() as session:
        session.truncate("a")
    first, *others = start(world, 3)
    while not first.progress.documents["a"].sweep_below:
        first.step()
    for pipeline in (first, *others):
        pipeline.stop()
    follow(world, 1)
    world.assert_equal()


def test_shares_of_different_epochs_are_written_again() -> None:
    """Their versions cannot be compared: everybody loads under one epoch above all."""
    world = filled(2)
    one = world_of(world, Share(1, 2))
    one.resync("asked for")
    drain(one)
    one.stop()
    follow(world, 3)
    world.assert_equal()
    assert {p.epoch for p in stored_shares(world.store, "main").values()} == {3}
    sound(world)


def test_readers_of_a_former_number_hold_nothing() -> None:
    """The new ones are noted before the change; afterwards the old ones are forgotten."""
    world = World(sink=Recording(), options=replace(OPTIONS, prune_interval_seconds=1.0))
    world.write("a", *KEYS)
    for old in (1, 3, 2, 1):
        follow(world, old)
        world.now_seconds += 10
        world.write("a", 1, value=str(old))
        follow(world, old)
        uuid = world.sink.uuids()["a"]
        readers = set(wanted_of(world.database.state.wal, "a"))
        assert readers == {f"{share.entry('main')}/{uuid}" for share in Share.all(old)}


def test_nothing_is_pruned_that_the_new_number_wants() -> None:
    """An old worker that runs on, far ahead, prunes nothing that the new ones have not read."""
    world = World(sink=Recording(), options=replace(OPTIONS, prune_interval_seconds=1.0))
    world.write("a", *KEYS)
    follow(world, 2)
    world.write("a", *KEYS, value="y")
    ahead = world_of(world, Share(1, 2))
    drain(ahead)
    new = world.pipeline(share=Share(2, 3))
    new.start()
    world.now_seconds += 100
    world.write("a", *KEYS, value="z")
    with pytest.raises(TakenOver):
        drain(ahead)
    follow(world, 3)
    world.assert_equal()
    assert {p.epoch for p in stored_shares(world.store, "main").values()} == {1}


def _dies(world: World, share: Share, last: int, after: bool) -> bool:
    """A worker that dies at an effect of its first 40; False: it has fewer."""
    effects = Effects(last, after)
    source = MemorySource(world.database, (A, B), share=share)
    pipeline = Pipeline(
        "main", counted(Source, source, effects), world.sink,  # type: ignore[type-abstract]
        counted(ProgressStore, world.store.other(), effects),  # type: ignore[type-abstract]
        (A, B), world.options, effects.failpoint, lambda: world.now_seconds, share,
    )  # fmt: skip
    try:
        pipeline.start()
        drain(pipeline)
    except Death:
        return True
    return False


@pytest.mark.parametrize(("old", "new"), [(1, 2), (2, 3), (2, 1)])
def test_a_change_of_the_number_may_die_at_every_step(old: int, new: int) -> None:
    """Whatever the first new worker was doing: all end equal, the number is the old or the new,
    nothing is loaded again."""
    for last, after in itertools.product(range(1, 60), (False, True)):
        world = World(sink=Recording(), options=replace(OPTIONS, prune_interval_seconds=0.5))
        world.write("a", *range(8))
        follow(world, old)
        world.write("a", 1, 2, 3, value="y")
        before = len(sent(world))
        died = _dies(world, Share(1, new), last, after)
        sound(world)
        assert len(stored_shares(world.store, "main")) in (old, new)
        if last % 2:
            follow(world, old)  # whoever was not told goes on as before
        world.write("a", 4, value="y")
        follow(world, new)
        world.assert_equal()
        sound(world)
        assert set(sent(world)[before:]) <= {"1", "2", "3", "4"}
        if not died:
            return
    raise AssertionError("the worker has more effects than were tried")
