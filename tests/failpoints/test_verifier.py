"""A verification dies before and after every effect it has; the next one mends the rest."""

from __future__ import annotations

import pytest

from tests.failpoints.effects import Death, Effects, counted
from tests.failpoints.test_memory import VERIFIERS
from tests.unit.pipelines import A, B, World, run
from tests.unit.verifying import QUICK, REPAIR, alter, counts, filled, lose, plant, verified
from txid_sync.progress.base import ProgressStore
from txid_sync.sinks.base import Sink
from txid_sync.sources.base import Source
from txid_sync.sources.memory import MemorySource
from txid_sync.verifier import Verifier, VerifyOptions

EXPLAINS = {"Source.key_of", "Sink.letters"}  # asked for by nobody else
FOUND = {"a": (1, 1, 0), "b": (0, 0, 1)}


def planted() -> World:
    """A synced world in which somebody altered a document, deleted one, and added one."""
    world = filled()
    alter(world, "a", 1)
    lose(world, "a", 2)
    plant(world, "b", 9)
    return world


def live(world: World, effects: Effects, options: VerifyOptions) -> None:
    """The life of one verification, to the end of a pass; raises Death."""
    documents = (A, B)
    source = MemorySource(world.database, documents)
    verifier = Verifier(
        "main",
        counted(Source, source, effects),  # type: ignore[type-abstract]
        counted(Sink, world.sink, effects),  # type: ignore[type-abstract]
        counted(ProgressStore, world.store.other(), effects),  # type: ignore[type-abstract]
        documents,
        options,
        failpoint=effects.failpoint,
        seconds=lambda: world.now_seconds,
    )
    for _ in range(1000):
        if (pause := verifier.step()) is None:
            return
        world.now_seconds += pause
    raise AssertionError("the pass does not end")


def effects_of(options: VerifyOptions) -> list[str]:
    """The effects of a verification that is left alone."""
    effects = Effects()
    live(planted(), effects, options)
    return effects.names


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_B18_a_repair_may_die_at_every_effect(after: bool) -> None:
    """Death at effect k, for every k, and changes meanwhile: the next pass mends what is left."""
    total = len(effects_of(REPAIR))
    assert total > 30
    for number in range(1, total + 1):
        world = planted()
        with pytest.raises(Death):
            live(world, Effects(number, after=after), REPAIR)
        world.write("a", 1, value="later")
        world.delete("a", 3)
        run(world)
        verified(world, REPAIR)
        world.assert_equal()
        assert set(counts(verified(world)).values()) == {(0, 0, 0)}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_B18_a_look_may_die_at_every_effect(after: bool) -> None:
    """Without repair nothing changes, and a whole pass after it tells all three differences."""
    for number in range(1, len(effects_of(QUICK)) + 1):
        world = planted()
        held = {name: dict(index.documents) for name, index in world.sink.indices.items()}
        with pytest.raises(Death):
            live(world, Effects(number, after=after), QUICK)
        assert {n: index.documents for n, index in world.sink.indices.items()} == held
        assert counts(verified(world)) == FOUND


def test_every_effect_of_a_verification_is_met() -> None:
    """What the pipeline's histories leave to the verifier is numbered here."""
    met = {*effects_of(REPAIR), *effects_of(QUICK)}
    assert met >= VERIFIERS - EXPLAINS
