"""Timestamp pollers lose rows whose transaction began early and committed late.

They ask for `updated_at > last`, but a timestamp is taken when the transaction (or the statement)
runs, and a row can be seen only after the commit: what commits after a younger row was read lies
below `last` for ever.  txid-sync asks which transactions have ended since, not when they began.
"""

from __future__ import annotations

import pytest

from tests.scenarios.rivals import timestamp_poller
from tests.scenarios.stage import Stage


@pytest.mark.parametrize("now", ["now()", "clock_timestamp()"])
def test_a_late_commit_lies_below_the_last_timestamp(stage: Stage, now: str) -> None:
    """The slow writer's insert and update are lost by the poller, with either kind of clock."""
    stage.table("id bigint primary key, v text, updated_at timestamptz not null")
    stage.run(f"insert into public.t values (1, 'old', {now})")
    rival = timestamp_poller(stage)
    rival.drain()
    stage.sync()

    slow = stage.session()
    slow.run(f"update public.t set v = 'new', updated_at = {now} where id = 1")
    slow.run(f"insert into public.t values (2, 'slow', {now})")
    stage.run(f"insert into public.t values (3, 'quick', {now})")
    rival.drain()
    stage.sync()
    slow.commit()
    rival.drain()

    assert rival.wrong() == {"1": "stale", "2": "missing"}
    stage.assert_equal()
