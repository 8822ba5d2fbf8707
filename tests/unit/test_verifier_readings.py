"""A verification while rows change between any two of its readings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.unit.pipelines import drain
from tests.unit.verifying import filled, verifier_of

READINGS = ("store.load", "sink.letters", "sink.fetch", "sink.adopt", "source.lookup", "source.log")


@dataclass
class Before:
    """A call before which, at its `last` time, something happens."""

    real: Callable[..., object]
    last: int
    happen: Callable[[], None]
    calls: int = 0

    def __call__(self, *arguments: object) -> object:
        """The call."""
        self.calls += 1
        if self.calls == self.last:
            self.happen()
        return self.real(*arguments)


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("happens", ["write", "delete", "write, not read"])
def test_whatever_happens_between_two_readings(reading: str, happens: str) -> None:
    """A suspect changes, and the pipeline writes it, just before any of the readings: no alarm."""
    for number in range(1, 40):
        if _happens_before(reading, happens, number):
            return
    raise AssertionError("the pass does not end")


def _happens_before(reading: str, happens: str, number: int) -> bool:
    """One pass with something before the reading's call of this number; True if it has no such."""
    world = filled()
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    world.write("a", 3, value="a suspect")

    def happen() -> None:
        if happens == "delete":
            world.delete("a", 3)
        else:
            world.write("a", 3, value="meanwhile")
        if happens != "write, not read":
            drain(pipeline)

    verifier = verifier_of(world)
    part, _, method = reading.partition(".")
    owner = getattr(verifier, f"_{part}")
    call = Before(getattr(owner, method), number, happen)
    setattr(owner, method, call)
    try:
        while verifier.step() is not None:
            world.now_seconds += 0.1
    finally:
        delattr(owner, method)
    assert verifier.pass_.left == 0, (reading, happens, number)
    return call.calls < number
