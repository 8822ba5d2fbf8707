"""The marker beside verifications that mend: what they send is not forgotten at a switchover."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.pipelines import World, drain
from tests.unit.test_marker import MARKING, rested, switch
from tests.unit.verifying import QUICK, verifier_of
from txid_sync.verifier import Verifier


def mended(verifier: Verifier, world: World) -> int:
    """How many documents a pass repairs."""
    for _ in range(1000):
        pause = verifier.step()
        if pause is None:
            return sum(found.repaired for found in verifier.pass_.findings.values())
        world.now_seconds += pause
    raise AssertionError("the pass does not end")


@pytest.mark.parametrize("lossy", [False, True])
def test_F12_a_marker_does_not_speak_of_a_later_repair(
    lossy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repair wrote what was committed after the marker, and the next server lacks it: all is
    written again; a marker that was written after the repair speaks of it."""
    world = World(options=MARKING)
    world.write("a", 1, 2, 3)
    world.now_seconds = 100.0
    pipeline = rested(world)
    kept = len(world.database.state.wal)
    del world.sink.indices["a"].documents["1"]
    real = Verifier._note_repair

    def note(self: Verifier) -> None:
        if world.table("a")["1"] == {"k": 1, "v": "x"}:
            world.write("a", 1, value="later")
        real(self)

    monkeypatch.setattr(Verifier, "_note_repair", note)
    assert mended(verifier_of(world, replace(QUICK, repair=True)), world) == 1
    if lossy:
        switch(world, kept)
    else:
        drain(pipeline)
        world.now_seconds += 100.0
        drain(pipeline)
        switch(world)
    drain(pipeline)
    assert pipeline.status().epoch == (2 if lossy else 1)
    world.assert_equal()
