"""Snapshot cursors that move on while nothing is new lose what began in that moment.

To keep their window small they put the cursor to the newest txid after an empty poll; whoever drew
a txid since the poll's snapshot is counted as read, and drawing one to look at the counter even
makes the race.  txid-sync leaves its cursor as it is while nothing is new, and never draws a txid.
"""

from __future__ import annotations

from tests.scenarios.rivals import StampedReader
from tests.scenarios.stage import Stage


class IdleAdvance(StampedReader):
    """After an empty poll everything below the newest txid counts as done."""

    def advance(self) -> None:
        """Nothing was new: go on from the newest txid."""
        ((newest,),) = self.rows("select txid_current()")
        self.done = f"{newest}:{newest}:"


def test_F24_an_empty_poll_moves_the_cursor(stage: Stage) -> None:
    """A transaction that began after the empty poll is lost by the rival."""
    stage.table(StampedReader.COLUMNS)
    rival = IdleAdvance(stage)
    stage.sync()
    rival.poll()
    writer = stage.session()
    writer.run("insert into public.t values (1, 'just begun')")
    stage.sync()
    rival.advance()
    writer.commit()
    rival.poll()
    assert rival.wrong() == {"1": "missing"}
    stage.assert_equal()


def test_F24_idle_polls_change_nothing(stage: Stage) -> None:
    """A hundred empty polls, with aborted writers beside: the same cursor, not a txid drawn."""
    stage.table("id bigint primary key")
    stage.run("insert into public.t values (1)")
    stage.sync()
    before = stage.pipeline.progress.cursor.to_json()
    aborted = 0
    counter = "select txid_snapshot_xmax(txid_current_snapshot())"
    ((first,),) = stage.run(counter)
    for turn in range(100):
        if turn % 10 == 0:
            session = stage.session()
            session.run("insert into public.t values (2)")
            session.rollback()
            aborted += 1
        assert not stage.step()
    assert stage.pipeline.progress.cursor.to_json() == before
    assert stage.run(counter) == [(first + aborted,)]
