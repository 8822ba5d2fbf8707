"""The pipeline over the database and the sink in memory: order, faults, deaths."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.pipelines import OPTIONS, Died, World, changing, drain, run
from txid_sync.errors import DeleteBrake, TakenOver
from txid_sync.failpoints import NAMES
from txid_sync.model import Page
from txid_sync.progress.memory import MemoryProgress, SaveFault
from txid_sync.sinks.memory import Fault, MemorySink


def test_B03_B13_first_start_loads_then_follows() -> None:
    """Rows that were there are loaded, changes follow, deletes too."""
    world = World()
    world.write("a", *range(7))
    world.write("b", 1)
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    world.assert_equal()
    world.delete("a", 3)
    world.write("b", 1, 2, value="y")
    drain(pipeline)
    world.assert_equal()
    assert pipeline.status().lag_transactions == 0


def test_B01_without_load_it_starts_from_now() -> None:
    """With load off only what changes after the start arrives."""
    world = World(options=replace(OPTIONS, load=False))
    world.write("a", 1)
    pipeline = world.pipeline()
    pipeline.start()
    world.write("a", 2)
    drain(pipeline)
    assert set(world.index("a")) == {"2"}


@pytest.mark.parametrize("name", NAMES)
def test_A17_death_at_every_failpoint_loses_nothing(name: str) -> None:
    """The process dies at every n-th pass of a failpoint, for each n; the end is equal."""
    deaths = 0
    for nth in range(1, 60):
        world, count = World(), [0]

        def failpoint(passed: str, nth: int = nth, count: list[int] = count) -> None:
            count[0] += passed == name
            if passed == name and count[0] % nth == 0:
                raise Died

        died = 0
        for _ in changing(world):
            for _ in range(3):
                try:
                    pipeline = world.pipeline(failpoint if died < 20 else lambda name: None)
                    pipeline.start()
                    drain(pipeline)
                    pipeline.stop()
                    break
                except Died:
                    died += 1
        run(world)
        world.assert_equal()
        deaths += died
        if not died:
            break
    assert deaths > 10


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("every", [1.5, 2, 3, 5])
def test_H08_faults_of_the_sink_lose_nothing(fault: Fault, every: float) -> None:
    """Refused, half applied, applied unanswered, late, expired, retried: equal at the end."""
    asked = [0]

    def faults(page: Page) -> Fault | None:
        asked[0] += 1
        return fault if asked[0] % every < 1 else None

    world = World(sink=MemorySink(faults))
    pipeline = world.pipeline()
    pipeline.start()
    for _ in changing(world):
        drain(pipeline)
        while world.sink.late:
            world.sink.arrive()
    pipeline.stop()
    drain(pipeline)
    world.assert_equal()


def test_a_zombie_request_does_not_undo_a_delete() -> None:
    """A write that arrives after its row's delete was applied is refused by its version."""
    faults = iter([Fault.LATE])
    world = World(sink=MemorySink(lambda page: next(faults, None)))
    pipeline = world.pipeline()
    pipeline.start()
    world.write("a", 1)
    drain(pipeline)
    world.delete("a", 1)
    drain(pipeline)
    world.sink.arrive()
    world.assert_equal()


def test_H10_what_was_sent_after_a_retried_page_is_sent_again() -> None:
    """A sink that forgot its deletes while an older page was retried ends equal all the same."""
    world = World()
    pipeline = world.pipeline()
    pipeline.start()
    world.write("a", 1)
    drain(pipeline)
    world.write("a", 1, value="old")
    pages: list[Page] = []

    def faults(page: Page) -> Fault | None:
        pages.append(page)
        if len(pages) == 1:
            world.delete("a", 1)
            return Fault.RETRIED
        world.sink.forget_tombstones()
        return None

    world.sink._faults = faults
    drain(pipeline)
    world.assert_equal()


@pytest.mark.parametrize("fault", list(SaveFault))
def test_a_lost_answer_of_a_save_is_no_second_instance(fault: SaveFault) -> None:
    """When the answer to saving progress is lost, the pipeline goes on and is not taken over."""
    asked = [0]

    def faults(name: str) -> SaveFault | None:
        asked[0] += 1
        return fault if asked[0] % 3 == 0 else None

    world = World(store=MemoryProgress(faults))
    pipeline = world.pipeline()
    pipeline.start()
    for _ in changing(world):
        drain(pipeline)
    drain(pipeline)
    world.assert_equal()


def test_F21_a_second_instance_makes_the_first_stop() -> None:
    """Two pipelines of one name: whoever saves second stops, and nothing is wrong afterwards."""
    world = World()
    world.write("a", *range(5))
    first, second = world.pipeline(), world.pipeline()
    first.start()
    second.start()
    world.write("a", 2, value="y")
    drain(second)
    with pytest.raises(TakenOver):
        drain(first)
    drain(second)
    world.assert_equal()


def test_F15_a_truncation_sweeps_without_the_brake() -> None:
    """TRUNCATE removes every document of its index, however many, and keeps what came after."""
    world = World()
    world.write("a", *range(20))
    world.write("b", *range(5))
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    with world.database.transaction() as session:
        session.truncate("a")
    world.write("a", 3, 4, value="new")
    drain(pipeline)
    assert set(world.index("a")) == {"3", "4"}
    world.assert_equal()


def test_the_delete_brake_stops_a_sweep_until_it_is_allowed() -> None:
    """A resync that would remove more than the share stops and deletes nothing until allowed."""
    world = World()
    world.write("a", *range(10))
    run(world)
    world.database.alter("a", relation="another")
    world.database.change(wal=())
    world.write("a", *range(7))
    with pytest.raises(DeleteBrake, match="more than 20%"):
        run(world)
    assert len(world.index("a")) == 10
    world.options = replace(OPTIONS, brake_off=True)
    run(world)
    assert set(world.index("a")) == {str(n) for n in range(7)}


def test_dead_letters_do_not_stop_the_others() -> None:
    """A document that the sink refuses for good is kept apart, and everything else arrives."""
    world = World(sink=MemorySink(refuse=lambda d, id, source: "bad" if id == "3" else ""))
    world.write("a", *range(6))
    pipeline = run(world)
    assert set(world.index("a")) == {"0", "1", "2", "4", "5"}
    assert pipeline.status().dead_letters == 1
    assert [letter.id for letter in world.sink.dead_letters()[1]] == ["3"]


def test_an_idle_pipeline_saves_nothing() -> None:
    """Steps without news change neither progress nor the store."""
    world = World()
    world.write("a", 1)
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    saves, before = world.store.saves, pipeline.progress.to_json()
    for _ in range(50):
        assert pipeline.step() is False
        world.now_seconds += 20
    assert (world.store.saves, pipeline.progress.to_json()) == (saves, before)
