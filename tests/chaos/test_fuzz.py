"""The short form of the fuzz; `make chaos` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import fuzz
from tests.chaos.actions import KINDS, STANDBY_KINDS

SECONDS = 5  # the first round of all actions is finished in any case
# What a standby adds to: who reads it, what it copies, and the way there.  `make chaos STANDBY=1`
# does the rest beside it as well.
BESIDE_A_STANDBY = (
    *STANDBY_KINDS, "kill -9", "stopped and continued", "PostgreSQL immediate stop",
    "backends terminated", "wire to PostgreSQL",
)


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("standby", "kinds"), [(False, tuple(KINDS)), (True, BESIDE_A_STANDBY)],
    ids=["primary", "standby"],
)  # fmt: skip
def test_A17_A18_F21_equal_after_every_fault(
    seed: int, tmp_path: Path, standby: bool, kinds: tuple[str, ...]
) -> None:
    """Writers, two syncers of one pipeline, every kind of fault once or more: equal."""
    found = fuzz.run(SECONDS, seed, tmp_path, standby, kinds)
    assert found.equal, found.report()
    assert set(found.actions) == set(kinds)
    assert found.exit_codes[fuzz.TAKEN_OVER] > 0
    assert found.marks_seen > 0
    assert found.versions_seen > 0
    assert found.verified["reading: no difference"] > 0
