"""Snapshot cursors lose what commits between reading the rows and taking the snapshot.

Two statements of a READ COMMITTED transaction have two snapshots; the second counts as read what
the first could not see.  txid-sync's snapshot and rows come from one statement.
"""

from __future__ import annotations

from tests.scenarios.rivals import StampedReader
from tests.scenarios.stage import Stage


def test_F17_a_commit_between_two_statements(stage: Stage) -> None:
    """Rows first, snapshot second: the commit in between is lost by the rival."""
    stage.table(StampedReader.COLUMNS)
    rival = StampedReader(stage)
    stage.sync()
    rival.poll()
    writer = stage.session()
    writer.run("insert into public.t values (1, 'in between')")
    stage.run("insert into public.t values (2, 'before')")

    rival.page()
    stage.after_reading(writer.commit)
    assert stage.step()
    rival.open()
    rival.close()

    rival.poll()
    assert rival.wrong() == {"1": "missing"}
    stage.assert_equal()
