"""Pollers of the system column xmin lose what commits out of the order of its txids.

`xmin::text::bigint > last` needs no column and no trigger, but a transaction gets its txid with
its first write and is seen at its commit.  The cure of most, to look only below the oldest open
transaction, lets one forgotten session hold back everybody's changes.  txid-sync's cursor is a
set: all that has ended, with the open ones left out by name.
"""

from __future__ import annotations

from tests.scenarios.rivals import ColumnPoller
from tests.scenarios.stage import Stage

XMIN = "t.xmin::text::bigint"


class BelowTheHorizon(ColumnPoller):
    """Only what is older than every open transaction: safe, and as late as the oldest of them."""

    def bound(self) -> str:
        """The condition on the column."""
        return f"{XMIN} > %s and {XMIN} < txid_snapshot_xmin(txid_current_snapshot())"


def test_a_lower_txid_commits_later(stage: Stage) -> None:
    """The lower txid is lost by the plain filter."""
    stage.table("id bigint primary key")
    rival = ColumnPoller(stage, XMIN, "0")
    stage.sync()
    slow = stage.session()
    slow.run("insert into public.t values (1)")
    stage.run("insert into public.t values (2)")
    rival.drain()
    stage.sync()
    slow.commit()
    rival.drain()
    assert rival.wrong() == {"1": "missing"}
    stage.assert_equal()


def test_one_open_transaction_holds_back_the_careful_poller(stage: Stage) -> None:
    """A session that forgot to commit: everybody's changes wait for it, but not with txid-sync."""
    stage.table("id bigint primary key")
    rival = BelowTheHorizon(stage, XMIN, "0")
    stage.sync()
    forgotten = stage.session()
    forgotten.run("insert into public.t values (1)")
    for id in (2, 3, 4):
        stage.run("insert into public.t values (%s)", id)
        rival.drain()
        stage.assert_equal()
    assert rival.wrong() == dict.fromkeys("234", "missing")
    forgotten.commit()
    rival.drain()
    assert rival.wrong() == {}
    stage.assert_equal()
