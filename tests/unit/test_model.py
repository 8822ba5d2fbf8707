"""Versions and limits: ranges, order, and what is refused."""

from __future__ import annotations

import doctest

import pytest

from txid_sync import model
from txid_sync.model import MAX_CLOCK, MAX_EPOCH, Limits, clock_of, epoch_of, version_of


def test_doctests() -> None:
    """The cases in the module's docstring are true."""
    assert doctest.testmod(model).failed == 0


def test_a_higher_epoch_always_wins() -> None:
    """No clock of an older epoch reaches a version of a newer one."""
    assert version_of(1, MAX_CLOCK) < version_of(2, 0)


def test_the_greatest_version_fits_into_63_bits() -> None:
    """The sink takes versions up to 2^63 - 1."""
    greatest = version_of(MAX_EPOCH, MAX_CLOCK)
    assert greatest == 2**63 - 1
    assert (epoch_of(greatest), clock_of(greatest)) == (MAX_EPOCH, MAX_CLOCK)


@pytest.mark.parametrize(
    ("epoch", "clock"), [(0, 1), (-1, 1), (MAX_EPOCH + 1, 1), (1, -1), (1, MAX_CLOCK + 1)]
)
def test_versions_out_of_range_are_refused(epoch: int, clock: int) -> None:
    """A version that would order wrongly is never made."""
    with pytest.raises(ValueError, match="out of range"):
        version_of(epoch, clock)


@pytest.mark.parametrize(
    ("documents", "body_bytes"), [(0, 1), (-1, 1), (10**9, 1), (1, 0), (1, 2**40)]
)
def test_A09_limits_are_range_checked(documents: int, body_bytes: int) -> None:
    """A page size outside its range is refused before it reaches any statement."""
    with pytest.raises(ValueError, match="per page"):
        Limits(documents, body_bytes)
