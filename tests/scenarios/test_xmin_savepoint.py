"""Pollers that compare xmin with a whole snapshot lose rows written after a savepoint.

Such a row carries the id of its subtransaction, and a snapshot lists only top-level transactions
as open: to the filter the row looks finished before its transaction has ended.  txid-sync's log
holds `txid_current()`, which is always that of the top level.
"""

from __future__ import annotations

from tests.scenarios.rivals import Reader
from tests.scenarios.stage import Stage

XMIN = "t.xmin::text::bigint"


class SnapshotPoller(Reader):
    """Reads the rows whose xmin was not finished in the snapshot of the last poll."""

    snapshot = "1:1:"

    def poll(self) -> None:
        """Snapshot and rows come from one statement."""
        rows = self.rows(
            "select s.now, id::text, row_to_json(t) from (select txid_current_snapshot()::text) s"
            f"(now) left join public.t on not txid_visible_in_snapshot({XMIN}, %s)",
            self.snapshot,
        )
        self.take(row[1:] for row in rows if row[1] is not None)
        self.snapshot = rows[0][0]


def test_a_row_written_after_a_savepoint(stage: Stage) -> None:
    """Of one transaction the rows before the savepoint arrive, those after it are lost."""
    stage.table("id bigint primary key")
    rival = SnapshotPoller(stage)
    stage.sync()
    open_one = stage.session()
    open_one.run("insert into public.t values (1)")
    open_one.run("savepoint a")
    open_one.run("insert into public.t values (2)")
    open_one.run("release savepoint a")
    stage.run("insert into public.t values (3)")
    rival.poll()
    stage.sync()
    open_one.commit()
    rival.poll()
    assert rival.wrong() == {"2": "missing"}
    stage.assert_equal()
