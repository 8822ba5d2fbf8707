"""What the searches have found in the pipeline, each as its shortest schedule."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.pipelines import OPTIONS, World, drain
from txid_sync.errors import Unavailable
from txid_sync.pipeline import Pipeline


def _started(world: World) -> Pipeline:
    world.write("a", 1, 2)
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    return pipeline


def _after_a_crash(pipeline: Pipeline, world: World, keep: int | None = None) -> None:
    """The source crashes, the pipeline hears of it at its next step."""
    world.database.crash(keep)
    try:
        pipeline.step()
    except Unavailable:
        pipeline.recover()


def test_a_crash_takes_back_what_the_sink_was_said_to_be_complete_to() -> None:
    """A commit after a crash may have a clock that an unflushed abort had before: not complete."""
    world = World()
    pipeline = _started(world)
    session = world.database.connect()
    session.begin()
    session.assign()
    session.abort()
    drain(pipeline)
    complete = pipeline.status().complete_clock
    _after_a_crash(pipeline, world)
    world.write("a", 3)
    token = world.database.snapshot().clock
    assert token == complete
    assert "3" in world.index("a") or pipeline.status().complete_clock < token


def test_a_source_that_went_back_behind_a_page_in_flight_is_noticed() -> None:
    """An older image of the disk is put back before a page is answered: what it lacks goes."""
    world = World(options=replace(OPTIONS, brake_off=True, catalog_interval_seconds=0.0))
    pipeline = _started(world)
    world.write("a", 1, value="y")
    pipeline.step()
    image = world.database.inserted
    world.write("a", 3)
    pipeline.step()
    assert "3" in world.index("a")
    _after_a_crash(pipeline, world, image)
    drain(pipeline)
    world.assert_equal()
