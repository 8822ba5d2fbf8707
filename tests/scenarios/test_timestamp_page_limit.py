"""Timestamp pollers that read in batches lose rows that share the timestamp at a batch's end.

All rows of one transaction have the same `now()`; with `updated_at > last limit 2` the third of
them lies not above `last` any more.  txid-sync's place in the log is unique: (txid, seq, item).
"""

from __future__ import annotations

from tests.scenarios.rivals import timestamp_poller
from tests.scenarios.stage import Stage


def test_equal_timestamps_at_the_end_of_a_batch(stage: Stage) -> None:
    """Five rows of one statement, two to a batch: three are lost by the poller."""
    stage.table("id bigint primary key, updated_at timestamptz not null default now()")
    rival = timestamp_poller(stage, limit=2)
    stage.sync()
    stage.run("insert into public.t select generate_series(1, 5)")
    rival.drain()
    assert sorted(rival.wrong().values()) == ["missing"] * 3
    stage.assert_equal()
    assert max(page.documents for page in stage.sent) == 2
