"""A verifier beside a pipeline in memory: no false alarm, every planted difference, repair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit import verifying
from tests.unit.pipelines import Died, World, changing, drain, run
from tests.unit.verifying import COMPLETE, QUICK, REPAIR, counts, filled, verified, verifier_of
from txid_sync.errors import SourceUnavailable
from txid_sync.model import MAX_ID_BYTES
from txid_sync.sinks.memory import MemorySink

Plant = Callable[[World], None]


def test_equal_sides_are_equal() -> None:
    """Every row and every document is compared, once, and nothing is found."""
    result = verified(filled())
    assert counts(result) == {"a": (0, 0, 0), "b": (0, 0, 0)}
    assert [(f.rows, f.documents) for f in result.findings.values()] == [(7, 7), (4, 4)]
    assert (result.left, result.unsettled) == (0, 0)


PLANTED: list[tuple[Plant, tuple[int, int, int]]] = [
    (lambda w: verifying.lose(w, "a", 3), (1, 0, 0)),
    (lambda w: verifying.alter(w, "a", 3), (0, 1, 0)),
    (lambda w: verifying.plant(w, "a", 70), (0, 0, 1)),
    (lambda w: verifying.plant_very_high(w, "a", 70), (0, 0, 1)),
    (lambda w: verifying.plant(w, "a", 3), (0, 1, 0)),
    (lambda w: verifying.plant_very_high(w, "a", 3), (0, 1, 0)),
]


@pytest.mark.parametrize(("planted", "found"), PLANTED)
def test_every_planted_difference_is_found_and_repaired(
    planted: Plant, found: tuple[int, int, int]
) -> None:
    """Found without repair, twice; repaired; then gone, and nothing else was written."""
    world = filled()
    planted(world)
    assert counts(verified(world)) == counts(verified(world)) == {"a": found, "b": (0, 0, 0)}
    before = dict(world.sink.indices["a"].documents)
    result = verified(world, REPAIR)
    assert (result.left, result.findings["a"].repaired) == (0, 1)
    world.assert_equal()
    after = world.sink.indices["a"].documents
    assert sum(after.get(id) != before.get(id) for id in after.keys() | before.keys()) == 1
    assert counts(verified(world)) == {"a": (0, 0, 0), "b": (0, 0, 0)}


def test_what_the_pipeline_has_not_read_is_no_difference() -> None:
    """Changes after the cursor are unsettled; a difference beside them counts."""
    world = filled()
    world.write("a", 1, 8, value="new")
    world.delete("a", 2)
    verifying.lose(world, "a", 5)
    result = verified(world)
    assert counts(result)["a"] == (1, 0, 0)
    assert result.findings["a"].first["missing"] == ["5"]
    assert sorted(result.findings["a"].first["unsettled"]) == ["1", "2", "8"]
    run(world)
    assert counts(verified(world))["a"] == (1, 0, 0)
    assert verified(world).unsettled == 0


def test_an_unread_truncation_unsettles_the_whole_table() -> None:
    """While a truncation is not read, no key of that table is settled."""
    world = filled()
    with world.database.transaction() as session:
        session.truncate("a")
    verifying.lose(world, "b", 1)
    result = verified(world)
    assert counts(result) == {"a": (0, 0, 0), "b": (1, 0, 0)}
    assert result.findings["a"].unsettled == 7


def test_verifying_beside_a_pipeline_raises_no_alarm() -> None:
    """At every step of a pipeline a whole pass, and steps of a slow one: never a difference."""
    world = World(options=COMPLETE)
    pipeline = world.pipeline()
    pipeline.start()
    slow = verifier_of(world)
    checked = 0
    for _ in changing(world):
        busy = True
        while busy:
            busy = pipeline.step() or pipeline.status().phase != "sync"
            for _ in range(3):
                if slow.step() is None:
                    assert slow.pass_.left == 0
                    slow.begin()
            whole = verifier_of(world)
            whole.begin(restart=True)
            for _ in range(60):
                if whole.step() is None:
                    checked += 1
                    break
                if whole.hindrance:
                    break
            assert whole.pass_.left == 0, whole.pass_
    assert checked > 5
    world.assert_equal()


def test_a_repair_beside_the_pipeline_never_undoes_it() -> None:
    """A row that changes between the look-up of a repair and its arrival stays the newest."""
    world = filled()
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    verifying.alter(world, "a", 3)
    passed: list[str] = []

    def failpoint(name: str) -> None:
        if name == "repair-read" and not passed:
            passed.append(name)
            world.write("a", 3, value="newest")
            drain(pipeline)

    verifier = verifier_of(world, REPAIR, failpoint=failpoint)
    while verifier.step() is not None:
        pass
    assert passed
    assert verifier.pass_.left == 0
    world.assert_equal()


def test_dead_letters_are_counted_and_no_difference() -> None:
    """What sink or source refuse is dead, and an older document too; without a letter it counts."""
    world = World(
        sink=MemorySink(refuse=lambda _, __, source: "no" if b'"bad"' in source else ""),
        options=COMPLETE,
    )
    world.write("a", 1, 2)
    run(world)
    world.write("a", 1, 3, value="bad")
    with world.database.transaction() as session:
        session.write("a", {("x" * (MAX_ID_BYTES + 1),): '{"k":0,"v":"x"}'})
    run(world)
    result = verified(world, REPAIR)
    assert counts(result)["a"] == (0, 0, 0)
    assert result.findings["a"].dead == 3
    world.sink._dead.clear()
    result = verified(world)
    assert counts(result)["a"] == (2, 1, 0)
    assert verified(world, REPAIR).left == 0
    assert world.sink.dead_letters()[0] == 3
    assert counts(verified(world))["a"] == (0, 0, 0)


def test_nothing_is_settled_before_a_load_is_done() -> None:
    """Without progress, in a load, a sweep and a resync the verifier waits and says why."""
    world = World(options=COMPLETE)
    world.write("a", *range(9))
    verifier = verifier_of(world)
    verifier.step()
    assert verifier.hindrance == "a was not synced yet"
    pipeline = world.pipeline()
    pipeline.start()
    verifier.step()
    assert verifier.hindrance == "the load of a is not finished"
    drain(pipeline)
    pipeline.resync("asked for", ["a"])
    verifier.step()
    assert verifier.hindrance == "the load of a is not finished"
    while pipeline.progress.documents["a"].load:
        pipeline.step()
    verifier.step()
    assert verifier.hindrance == "the sweep of a is not finished"
    drain(pipeline)
    while verifier.step() is not None:
        assert not verifier.hindrance
    assert verifier.pass_.left == 0


def _another_table(world: World) -> None:
    world.database.alter("a", fingerprint="2")


def _another_server(world: World) -> None:
    world.database.change_identity(timeline="00000002")
    verifying.lose(world, "a", 1)


def _went_back(world: World) -> None:
    world.write("a", 1, value="lost")
    run(world)
    world.database.crash(keep=1)


def _pruned(world: World) -> None:
    world.write("a", 1, value="unread")
    world.database.prune("a", 10**6)


def _another_index(world: World) -> None:
    world.sink.drop_index("a")
    world.sink.prepare([], {})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_another_table, "the table of a changed"),
        (_another_server, "another server"),
        (_went_back, "went back"),
        (_pruned, "pruned"),
        (_another_index, "index a is gone"),
    ],
)
def test_nothing_is_settled_that_progress_does_not_speak_of(change: Plant, why: str) -> None:
    """Another table, server, history or index, and a pruned log: a reason, and no alarm."""
    world = filled()
    change(world)
    verifier = verifier_of(world)
    for _ in range(50):
        pause = verifier.step()
        assert pause is not None
        if verifier.hindrance:
            break
    assert why in verifier.hindrance
    assert verifier.pass_.left == 0
    run(world)
    assert verified(world).left == 0


def test_a_killed_verification_goes_on_where_it_was() -> None:
    """Killed at every failpoint: the next one compares only the rest, and finds the same."""
    world = filled()
    verifying.lose(world, "a", 0)
    verifying.plant(world, "b", 40)
    verifying.alter(world, "b", 3)
    want = counts(verified(world))
    read = 0
    for death in range(1, 60):
        passed = 0

        def failpoint(name: str, last: int = death) -> None:
            nonlocal passed
            passed += 1
            if passed == last:
                raise Died

        first = verifier_of(world, failpoint=failpoint)
        assert not first.begin(restart=True)
        try:
            while first.step() is not None:
                pass
        except Died:
            pass
        else:
            break
        second = verifier_of(world)
        goes_on = second.begin()
        read += goes_on and second.pass_.stage == "index"
        while second.step() is not None:
            pass
        assert counts(second.pass_) == want
        assert [(f.rows, f.documents) for f in second.pass_.findings.values()] == [(7, 6), (4, 5)]
    else:
        raise AssertionError("the pass does not end")
    assert read > 3


def test_another_selection_begins_anew() -> None:
    """What was noted for other documents, or in another form, is not gone on with."""
    world = filled()
    first = verifier_of(world)
    first.begin()
    for _ in range(3):
        first.step()
    assert verifier_of(world).begin()
    (document, *_) = world.pipeline()._keeper._documents
    assert not verifier_of(world, documents=(document,)).begin()
    world.store.note("main", "verify", "{}")
    assert not verifier_of(world).begin()


def test_the_rate_is_kept() -> None:
    """As many documents per second as asked for, and pages of a second at most."""
    world = filled()
    verifier = verifier_of(world, replace(QUICK, rate=2.0))
    while (pause := verifier.step()) is not None:
        world.now_seconds += pause
    assert 10.0 <= world.now_seconds <= 12.0  # 22 comparisons, the last is not waited for


def test_a_crash_between_two_readings_is_no_alarm() -> None:
    """A row that is seen and lost in a crash of the source, before the log is read, is no alarm."""
    world = filled()
    verifier = verifier_of(world)
    source = verifier._source
    lookup = source.lookup
    passed: list[int] = []

    def crash_after(document: str, wanted: list[str], epoch: int) -> object:
        page = lookup(document, wanted, epoch)
        if "3" in wanted and not passed:
            passed.append(1)
            world.database.crash()
            source.connect()  # as the one of PostgreSQL does by itself
        return page

    source.lookup = crash_after  # type: ignore[method-assign, assignment]
    session = world.database.connect()
    session.begin()
    session.write("a", {("3",): '{"k":3,"v":"lost"}'})
    session.commit(synchronous=False)
    for _ in range(200):
        try:
            if verifier.step() is None:
                break
        except SourceUnavailable:
            continue
    assert passed
    assert (verifier.pass_.left, verifier.pass_.unsettled) == (0, 0)


def test_hot_keys_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more suspects than are held, reading stops until some are settled or given up."""
    monkeypatch.setattr("txid_sync.verifier.MAX_SUSPECTS", 4)
    world = filled()
    world.write("a", *range(100, 130))
    verifier = verifier_of(world)
    most = 0
    while (pause := verifier.step()) is not None:
        most = max(most, len(verifier._suspects))
        world.now_seconds += pause
    assert most <= 4 + QUICK.limits.documents
    assert verifier.pass_.unsettled == 30
