"""The delays between attempts."""

from __future__ import annotations

import doctest
import random

import pytest

from txid_sync import backoff
from txid_sync.backoff import delay_seconds


def test_A16_delays_are_full_jitter_over_a_doubling_bound() -> None:
    """U(0, min(60, 0.5 * 2^n)): inside the bound, and spread over all of it."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    for attempt in range(200):
        bound = min(60.0, 0.5 * 2**attempt)
        delays = [delay_seconds(attempt, draw.random()) for _ in range(200)]
        assert 0.0 <= min(delays) < bound * 0.2
        assert bound * 0.8 < max(delays) <= bound


@pytest.mark.parametrize(
    ("attempt", "unit", "base", "cap"),
    [(-1, 0.5, 0.5, 60), (0, 1.5, 0.5, 60), (0, -0.1, 0.5, 60), (0, 0.5, 0, 1), (0, 0.5, 1, 0)],
)
def test_nonsense_is_refused(attempt: int, unit: float, base: float, cap: float) -> None:
    """Out of range is a ValueError, not a strange delay."""
    with pytest.raises(ValueError, match="attempt"):
        delay_seconds(attempt, unit, base, cap)


def test_doctests() -> None:
    """The examples in the module are right."""
    assert doctest.testmod(backoff).failed == 0
