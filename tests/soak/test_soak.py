"""The short form of the soak; `make soak` is the long one."""

from __future__ import annotations

from typing import Any

from tests.soak import soak

BURSTS = 6


def test_the_log_stays_small_whether_a_pipeline_runs_or_not(
    record_property: Any, capsys: Any
) -> None:
    """Running, stopped for longer than the retention, running again: never more than was written
    since the last look, nothing in the end, and both sides equal after a resync."""
    outcome = soak.run(BURSTS)
    with capsys.disabled():
        print(f"\n  {str(outcome).replace(chr(10), chr(10) + '  ')}", end="")
    record_property("soak", str(outcome))
    burst = soak.WRITERS * soak.TRANSACTIONS
    assert outcome.transactions == BURSTS * burst
    assert outcome.rows["running"] <= 1.1 * burst
    assert outcome.rows["running again"] <= 1.1 * burst
    assert outcome.rows_after["running"] <= burst / 10
    assert outcome.rows_after["stopped"] == 0
    assert outcome.rows_after["running again"] <= burst / 10
    assert outcome.resynced
    assert outcome.equal, outcome.report
