"""Timestamp pollers keep deleted rows for ever: a row that is gone has no timestamp to be read.

With a column `deleted_at` they see those deletes that the application writes as updates, but not
the DELETE of a clean-up job.  txid-sync's triggers log the key of every deleted row.
"""

from __future__ import annotations

from tests.scenarios.rivals import ColumnPoller, timestamp_poller
from tests.scenarios.stage import Stage


class SoftDeletes(ColumnPoller):
    """Takes a row with `deleted_at` out of its copy."""

    def poll(self) -> int:
        """Read one batch, and drop what is marked as deleted."""
        count = super().poll()
        self.copy = {id: row for id, row in self.copy.items() if not row["deleted_at"]}
        return count


COLUMNS = "id bigint primary key, updated_at timestamptz default now(), deleted_at timestamptz"


def test_F14_a_deleted_row_leaves_a_ghost(stage: Stage) -> None:
    """Deleted, and deleted and inserted again with a timestamp of before: both are wrong."""
    stage.table(COLUMNS)
    stage.run("insert into public.t select generate_series(1, 4)")
    rival = timestamp_poller(stage)
    rival.drain()
    stage.sync()
    stage.run("delete from public.t where id <= 2")
    stage.run("insert into public.t values (2, '2001-01-01')")
    rival.drain()
    assert rival.wrong() == {"1": "ghost", "2": "stale"}
    stage.assert_equal()


def test_F14_soft_deletes_do_not_help_against_a_clean_up(stage: Stage) -> None:
    """The tool with soft deletes follows the application, not the job that really deletes."""
    stage.table(COLUMNS)
    stage.run("insert into public.t select generate_series(1, 4)")
    rival = SoftDeletes(stage, "updated_at", "-infinity")
    rival.drain()
    stage.sync()
    stage.run("update public.t set deleted_at = now(), updated_at = now() where id = 1")
    rival.drain()
    stage.sync()
    assert sorted(rival.copy) == ["2", "3", "4"]
    assert stage.held()["1"]["deleted_at"]
    stage.run("delete from public.t where id <= 2")
    rival.drain()
    assert rival.wrong() == {"2": "ghost"}
    stage.assert_equal()
