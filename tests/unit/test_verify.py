"""Why a verifier raises no false alarm: whatever happens between its readings, and its rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.unit.pipelines import drain
from tests.unit.verifying import counts, filled, verified, verifier_of
from txid_sync import verify
from txid_sync.model import DeadLetter, Held

READINGS = ("store.load", "sink.letters", "sink.fetch", "sink.adopt", "source.lookup", "source.log")


@dataclass
class Before:
    """A call before which, at its `last` time or from then on, something happens."""

    real: Callable[..., object]
    last: int
    happen: Callable[[], None]
    always: bool = False
    calls: int = 0

    def __call__(self, *arguments: object) -> object:
        """The call."""
        self.calls += 1
        if self.calls == self.last or (self.always and self.calls > self.last):
            self.happen()
        return self.real(*arguments)


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("happens", ["write", "delete", "write, not read", "always"])
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
            world.write("a", 3, value=f"meanwhile {call.calls}")
        if happens != "write, not read":
            drain(pipeline)

    verifier = verifier_of(world)
    part, _, method = reading.partition(".")
    owner = getattr(verifier, f"_{part}")
    call = Before(getattr(owner, method), number, happen, happens == "always")
    setattr(owner, method, call)
    try:
        while verifier.step() is not None:
            world.now_seconds += 0.1
    finally:
        delattr(owner, method)
    assert verifier.pass_.left == 0, (reading, happens, number)
    return call.calls < number


def test_a_log_too_long_to_look_through_settles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more unread log rows than are looked at, any key may be among them."""
    monkeypatch.setattr("txid_sync.verifier.LOG_ROWS", 2)
    world = filled()
    for key in (1, 2, 5):
        world.write("a", key, value="unread")
    result = verified(world)
    assert counts(result)["a"] == (0, 0, 0)
    assert result.findings["a"].unsettled == 3


def test_contents_are_compared_as_values_where_bytes_differ() -> None:
    """White space and the order of names do not count; numbers by their text, and all else do."""
    row = b'{"a":1,"b":[1.0,null]}'
    assert verify.same(row, Held(1, row))
    assert verify.same(row, Held(1, b'{ "b": [1.0, null], "a": 1 }'))
    for other in (b'{"a":1.0,"b":[1.0,null]}', b'{"a":1,"b":[1.0]}', b'{"a":1}', b"{", b"[" * 9999):
        assert not verify.same(row, Held(1, other))
    assert verify.same(None, None)
    assert not verify.same(row, None)
    assert not verify.same(None, Held(1, row))


def test_an_old_letter_explains_nothing() -> None:
    """A letter explains an older document, or none; not one that was written after it."""
    letter = DeadLetter("a", "1", 5, "no")
    assert verify.explains(letter, None)
    assert verify.explains(letter, Held(5, b"{}"))
    assert not verify.explains(letter, Held(6, b"{}"))
    assert not verify.explains(None, Held(6, b"{}"))
