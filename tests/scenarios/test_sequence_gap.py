"""Sequence pollers that wait for gaps to be filled stop for ever at the gap of a rollback.

A number that a transaction drew before it was rolled back never comes; from outside the gap looks
like that of a transaction still open.  Those that give up after a while are back at losing the
late one.  txid-sync sees in the snapshot whether a transaction has ended, whichever way.
"""

from __future__ import annotations

from tests.scenarios.rivals import ColumnPoller
from tests.scenarios.stage import Stage


class Gapless(ColumnPoller):
    """Goes on only while the next number is the last one plus one."""

    def poll(self) -> int:
        """Read the rows up to the first gap."""
        rows = self.rows(
            "select id::text, row_to_json(t), seq from public.t where seq > %s order by seq",
            self.last,
        )
        ready = [row for place, row in enumerate(rows, int(self.last) + 1) if row[2] == place]
        self.take(ready)
        self.last = str(int(self.last) + len(ready))
        return len(ready)


def test_a_rollback_stops_the_poller(stage: Stage) -> None:
    """It is right about a late commit, and never comes past a rollback."""
    stage.table("id bigint primary key, seq bigserial")
    rival = Gapless(stage, "seq", "0")
    stage.sync()
    slow = stage.session()
    slow.run("insert into public.t values (1)")
    stage.run("insert into public.t values (2)")
    rival.drain()
    slow.commit()
    rival.drain()
    assert rival.wrong() == {}

    failed = stage.session()
    failed.run("insert into public.t values (3)")
    failed.rollback()
    for id in range(4, 8):
        stage.run("insert into public.t values (%s)", id)
        rival.drain()
        stage.assert_equal()
    assert rival.wrong() == dict.fromkeys("4567", "missing")
