"""Tools that watch writes do not notice that ALTER TABLE changed every row without writing one.

A new column with a default changes what all rows look like; no trigger fires, no timestamp moves,
no row version is made.  txid-sync compares the catalog's fingerprint in every page and loads the
table again.
"""

from __future__ import annotations

from tests.scenarios.rivals import EVERY_ROW, Outbox, timestamp_poller
from tests.scenarios.stage import Stage


def test_a_column_with_a_default(stage: Stage) -> None:
    """Only the row that is written afterwards is right in the copies of both rivals."""
    stage.table("id bigint primary key, v text, updated_at timestamptz default now()")
    stage.run("insert into public.t select g, 'x' from generate_series(1, 3) g")
    by_time = timestamp_poller(stage)
    by_time.drain()
    by_trigger = Outbox(stage, EVERY_ROW)
    stage.catalog_seconds = 3600.0  # only the page itself can tell
    stage.sync()
    stage.run("alter table public.t add column extra int default 7")
    stage.run("update public.t set v = 'y', updated_at = clock_timestamp() where id = 1")
    by_time.drain()
    by_trigger.drain()
    assert by_time.wrong() == by_trigger.wrong() == {"2": "stale", "3": "stale"}
    stage.assert_equal()
