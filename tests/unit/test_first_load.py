"""What a sink is told of the load of an index that was made for it."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.pipelines import OPTIONS, World, drain, run
from txid_sync.errors import SinkUnavailable
from txid_sync.keeper import LARGE_PAGE_DOCUMENTS
from txid_sync.model import Limits
from txid_sync.sinks.memory import MemorySink


class Told(MemorySink):
    """Notes what it is told, and whether stored progress still has the load to do."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World
        self.told: list[tuple[str, str]] = []

    def load_begins(self, document: str) -> None:
        """Note it."""
        self.told.append(("begins", document))

    def load_ends(self, document: str) -> None:
        """Note it: until it has been said, a process that comes after a crash must say it."""
        stored = self.world.store.load("main")
        assert stored is not None
        assert stored[0].documents[document].load, "a crash here would leave it unsaid"
        self.told.append(("ends", document))


def told(rows: int) -> tuple[World, Told]:
    """A first load of so many rows of one table, the other being empty."""
    sink = Told()
    limits = Limits(documents=LARGE_PAGE_DOCUMENTS)
    world = World(sink=sink, options=replace(OPTIONS, limits=limits))
    sink.world = world
    world.write("a", *range(rows))
    run(world)
    return world, sink


def test_the_begin_of_a_long_load_is_told_once_and_each_end() -> None:
    """Before progress can say that the load is done."""
    _, sink = told(3 * LARGE_PAGE_DOCUMENTS)
    assert sorted(sink.told) == [("begins", "a"), ("ends", "a"), ("ends", "b")]


def test_a_load_of_one_page_is_not_long() -> None:
    """An index that is full at once needs no other settings."""
    _, sink = told(LARGE_PAGE_DOCUMENTS - 1)
    assert sorted(sink.told) == [("ends", "a"), ("ends", "b")]


def test_of_a_resync_the_end_alone_is_told() -> None:
    """People search that index meanwhile; but the resync may have cut short its first load."""
    world, sink = told(3 * LARGE_PAGE_DOCUMENTS)
    sink.told.clear()
    pipeline = world.pipeline()
    pipeline.start()
    pipeline.resync("asked")
    drain(pipeline)
    assert sorted(sink.told) == [("ends", "a"), ("ends", "b")]
    world.assert_equal()


def test_pages_of_large_documents_are_large_too() -> None:
    """Few of them fill a request."""
    sink = Told()
    limits = Limits(documents=LARGE_PAGE_DOCUMENTS, body_bytes=4000)
    sink.world = World(sink=sink, options=replace(OPTIONS, limits=limits))
    sink.world.write("a", *range(20), value="x" * 1000)
    run(sink.world)
    assert sorted(sink.told) == [("begins", "a"), ("ends", "a"), ("ends", "b")]


def test_a_sink_that_cannot_change_a_setting_now_is_loaded_without() -> None:
    """It is asked once: each time it might take as long as a request may."""

    class Busy(Told):
        def load_begins(self, document: str) -> None:
            super().load_begins(document)
            raise SinkUnavailable("the cluster's state is not changed in time")

    sink = Busy()
    sink.world = World(sink=sink, options=replace(OPTIONS, limits=Limits(LARGE_PAGE_DOCUMENTS)))
    sink.world.write("a", *range(3 * LARGE_PAGE_DOCUMENTS))
    pipeline = sink.world.pipeline()
    pipeline.start()
    while pipeline.step() or pipeline.status().phase != "sync":  # without recovery
        pass
    assert sorted(sink.told) == [("begins", "a"), ("ends", "a"), ("ends", "b")]
    sink.world.assert_equal()


def test_an_index_that_is_made_anew_in_mid_load_begins_anew() -> None:
    """It has no setting of the one before."""
    sink = Told()
    sink.world = World(sink=sink, options=replace(OPTIONS, limits=Limits(LARGE_PAGE_DOCUMENTS)))
    sink.world.write("a", *range(9 * LARGE_PAGE_DOCUMENTS))
    pipeline = sink.world.pipeline()
    pipeline.start()
    while not sink.told:
        pipeline.step()
    sink.drop_index("a")
    drain(pipeline)
    assert sink.told.count(("begins", "a")) == 2
    sink.world.assert_equal()


def test_the_end_of_a_load_is_told_until_it_was_heard() -> None:
    """Unlike the begin: what it leaves behind would stay."""

    class Away(Told):
        refusals = 3

        def load_ends(self, document: str) -> None:
            self.refusals -= 1
            if self.refusals >= 0:
                raise SinkUnavailable("nobody answers")
            super().load_ends(document)

    sink = Away()
    sink.world = World(sink=sink)
    sink.world.write("a", 1)
    run(sink.world)
    assert sorted(sink.told) == [("ends", "a"), ("ends", "b")]
