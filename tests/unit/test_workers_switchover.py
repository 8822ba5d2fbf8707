"""A planned switchover beside workers: each proves what is its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.pipelines import OPTIONS, World, drain
from tests.unit.sharing import KEYS, Recording, follow, sent, sound, start, world_of
from tests.unit.test_marker import marks, switch
from txid_sync.pipeline import Pipeline
from txid_sync.share import Share
from txid_sync.shares import stored_shares

OF = 3
MARKING = replace(OPTIONS, marker_interval_seconds=60.0, brake_off=True)


@pytest.fixture
def world() -> World:
    """Rows, a sink that remembers, pipelines that mark."""
    world = World(sink=Recording(), options=MARKING, now_seconds=100.0)
    world.write("a", *KEYS)
    world.write("b", 1)
    return world


def rested(world: World) -> list[Pipeline]:
    """All workers, at rest."""
    pipelines = start(world, OF)
    for pipeline in pipelines:
        drain(pipeline)
    return pipelines


def epochs(world: World) -> list[int]:
    """The epoch of every worker."""
    return [progress.epoch for progress in stored_shares(world.store, "main").values()]


def keys_of(share: Share) -> list[int]:
    """The keys of a worker."""
    return [key for key in KEYS if share.holds(str(key))]


@pytest.mark.parametrize("stopped", [False, True])
def test_F12_every_worker_goes_on_after_a_switchover(world: World, stopped: bool) -> None:
    """Each has a marker of its own: nothing is sent again, and what comes later is."""
    pipelines = rested(world)
    assert marks(world) == OF
    if stopped:
        for pipeline in pipelines:
            pipeline.stop()
    before = len(sent(world))
    switch(world)
    if stopped:
        pipelines = start(world, OF)
    for pipeline in pipelines:
        drain(pipeline)
    assert (epochs(world), len(sent(world))) == ([1] * OF, before)
    world.write("a", *KEYS, value="y")
    for pipeline in pipelines:
        drain(pipeline)
    assert (epochs(world), len(sent(world))) == ([1] * OF, before + len(KEYS))
    world.assert_equal()


def test_F12_a_killed_worker_writes_its_share_again(world: World) -> None:
    """Nobody knows what it had sent; the others go on."""
    killed = Share(2, OF)
    for share, pipeline in zip(Share.all(OF), rested(world), strict=True):
        if share != killed:
            pipeline.stop()
    before = len(sent(world))
    switch(world)
    follow(world, OF)
    assert epochs(world) == [1, 2, 1]
    assert all(map(killed.holds, sent(world)[before:]))
    world.assert_equal()


def test_F12_what_one_worker_has_counted_is_lost(world: World) -> None:
    """It was on its own beside the writers: its marker is lost with what it proves, those of the
    others stand."""
    follow(world, OF)
    image = world.database.inserted
    alone = Share(1, OF)
    world.write("a", *keys_of(alone), 100, value="lost")
    pipeline = world_of(world, alone)
    drain(pipeline)
    pipeline.stop()
    assert world.index("a") != {}
    switch(world, image)
    follow(world, OF)
    assert epochs(world) == [2, 1, 1]
    world.assert_equal()
    sound(world)


@pytest.mark.parametrize("lossy", [False, True])
def test_F12_another_number_is_not_proved_by_markers(world: World, lossy: bool) -> None:
    """What the workers of one number have marked says nothing of those of another, nor when the
    former number comes back."""
    follow(world, OF)
    image = world.database.inserted
    world.write("a", *KEYS, 100, value="y")
    follow(world, 2)
    switch(world, image if lossy else None)
    follow(world, OF)
    assert epochs(world) == [2] * OF
    world.assert_equal()
    sound(world)


def test_a_key_of_a_long_window_is_written_once_by_its_worker(world: World) -> None:
    """A skim lists the keys of the share; their documents fill whole pages."""
    world.options = replace(OPTIONS, skim_entries=1000)
    follow(world, OF)
    for value in range(20):
        world.write("a", *KEYS, value=str(value))
    for share in Share.all(OF):
        before = len(sent(world))
        pipeline = world_of(world, share)
        drain(pipeline)
        found = sent(world)[before:]
        assert set(map(str, keys_of(share))) == set(found)
        assert len(found) <= len(set(found)) + 2
    world.assert_equal()
