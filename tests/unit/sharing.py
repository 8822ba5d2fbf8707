"""Workers over a world in memory, for the tests of shares."""

from __future__ import annotations

from concurrent.futures import Future

from tests.failpoints.world import check_sound
from tests.unit.pipelines import A, B, World, drain
from txid_sync.model import Ack, Page
from txid_sync.pipeline import Pipeline
from txid_sync.share import Share
from txid_sync.sinks.bulk import actions_of
from txid_sync.sinks.memory import MemorySink

KEYS = range(40)


class Recording(MemorySink):
    """A sink that remembers every page."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[Page] = []

    def submit(self, page: Page) -> Future[Ack]:
        """Remember it, and apply it."""
        self.pages.append(page)
        return super().submit(page)


def start(world: World, of: int) -> list[Pipeline]:
    """All workers, each as a process of its own."""
    pipelines = [world.pipeline(share=share) for share in Share.all(of)]
    for pipeline in pipelines:
        pipeline.start()
    return pipelines


def follow(world: World, of: int) -> None:
    """All workers start, come to rest and stop."""
    for pipeline in start(world, of):
        drain(pipeline)
        pipeline.stop()


def sound(world: World) -> None:
    """No worker counts as done what is not in the sink."""
    check_sound(world.database, world.sink, world.store, (A, B), world.table)


def sent(world: World) -> list[str]:
    """The ids of everything that the sink was ever sent."""
    assert isinstance(world.sink, Recording)
    return [action.id for page in world.sink.pages for action in actions_of(page.body)]


def filled(of: int) -> World:
    """A world that so many workers have loaded."""
    world = World(sink=Recording())
    world.write("a", *KEYS)
    follow(world, of)
    return world


def world_of(world: World, share: Share) -> Pipeline:
    """A worker, started."""
    pipeline = world.pipeline(share=share)
    pipeline.start()
    return pipeline
