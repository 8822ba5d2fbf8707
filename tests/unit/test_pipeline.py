"""The pipeline over the database and the sink in memory: order, faults, resyncs, deaths."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from txid_sync.errors import DeleteBrake, PreconditionError, TakenOver, Unavailable
from txid_sync.failpoints import NAMES
from txid_sync.model import Document, Limits, Page, epoch_of
from txid_sync.pipeline import Pipeline, PipelineOptions
from txid_sync.progress.memory import MemoryProgress, SaveFault
from txid_sync.sinks.memory import Fault, MemorySink
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.memory_database import MemoryDatabase

A, B = Document("a", "a"), Document("b", "b")
OPTIONS = PipelineOptions(Limits(documents=2), save_interval_seconds=0.0)


class Died(Exception):
    """The process was killed at a failpoint."""


@dataclass
class World:
    """A database with two tables, a sink, a store, and pipelines that come and go."""

    database: MemoryDatabase = field(default_factory=lambda: MemoryDatabase("a", "b"))
    sink: MemorySink = field(default_factory=MemorySink)
    store: MemoryProgress = field(default_factory=MemoryProgress)
    options: PipelineOptions = OPTIONS
    now_seconds: float = 0.0

    def write(self, table: str, *keys: int, value: str = "x") -> None:
        """Write rows in one transaction."""
        with self.database.transaction() as session:
            session.write(table, {(str(k),): f'{{"k":{k},"v":"{value}"}}' for k in keys})

    def delete(self, table: str, *keys: int) -> None:
        """Delete rows in one transaction."""
        with self.database.transaction() as session:
            session.delete(table, *[(str(k),) for k in keys])

    def pipeline(
        self, failpoint: Callable[[str], None] = lambda name: None, documents: object = (A, B)
    ) -> Pipeline:
        """A new pipeline on everything that is there, as a new process makes it."""
        source = MemorySource(self.database, documents)  # type: ignore[arg-type]
        return Pipeline(
            "main", source, self.sink, self.store, documents, self.options, failpoint,  # type: ignore[arg-type]
            lambda: self.now_seconds,
        )  # fmt: skip

    def table(self, name: str) -> dict[str, object]:
        """The rows of a table."""
        rows = self.database.rows(name, self.database.snapshot())
        return {key[0]: json.loads(text) for key, text in rows.items()}

    def index(self, name: str) -> dict[str, object]:
        """The documents of an index."""
        return {id: json.loads(text) for id, text in self.sink.documents(name).items()}

    def assert_equal(self) -> None:
        """Both sides hold the same."""
        for name in ("a", "b"):
            assert self.index(name) == self.table(name)


def drain(pipeline: Pipeline) -> None:
    """Step until nothing is left, recovering from outages."""
    for _ in range(2000):
        try:
            if not pipeline.step() and pipeline.status().phase == "sync":
                return
        except Unavailable:
            pipeline.recover()
    raise AssertionError("the pipeline does not come to rest")


def run(world: World) -> Pipeline:
    """Start a pipeline, drain it and stop it."""
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    pipeline.stop()
    return pipeline


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


def changing(world: World) -> Iterator[None]:
    """A history that meets every kind of page; yields between its parts."""
    world.write("a", *range(5))
    yield
    world.write("a", 1, 2, value="y")
    world.delete("a", 0)
    yield
    world.write("b", *range(3))
    with world.database.transaction() as session:
        session.truncate("a")
        session.write("a", {("9",): '{"k":9,"v":"z"}'})
    yield
    world.write("a", 0, 9, value="again")
    world.delete("b", 1)
    yield


@pytest.mark.parametrize("name", NAMES)
def test_A17_death_at_every_failpoint_loses_nothing(name: str) -> None:
    """The process dies at the n-th pass of a failpoint, for every n, and again; the end is equal."""
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
    """Refused, half applied, applied without an answer, late, expired, retried: equal at the end."""
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
    """A resync that would remove more than the share deletes nothing and stops; allowed, it does."""
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
    """Another server, an index that is gone, a source that went back, other columns: equal again."""
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
    """What the source forgets in a crash never reached the sink, and reused txids are not missed."""
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
