"""The short form of the fuzz; `make chaos` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import fuzz
from tests.chaos.actions import KINDS, STANDBY_KINDS

SECONDS = 20  # the first round of all actions is finished in any case


@pytest.mark.chaos
@pytest.mark.parametrize("standby", [False, True], ids=["primary", "standby"])
def test_A17_A18_F21_equal_after_every_fault(seed: int, tmp_path: Path, standby: bool) -> None:
    """Writers, two syncers of one pipeline, every kind of fault once or more: equal."""
    found = fuzz.run(SECONDS, seed, tmp_path, standby)
    assert found.equal, found.report()
    assert set(found.actions) == {*KINDS, *(STANDBY_KINDS if standby else ())}
    assert found.exit_codes[fuzz.TAKEN_OVER] > 0
    assert found.marks_seen > 0
    assert found.versions_seen > 0
    assert found.verified["reading: no difference"] > 0
