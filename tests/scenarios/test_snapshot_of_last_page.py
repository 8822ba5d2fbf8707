"""Snapshot cursors that move on to the snapshot of the last page lose rows behind their place.

While pages are read in the order of txids a lower txid commits; the last page's snapshot counts it
as ended, but its rows lie before the place already reached.  It needs a commit at the right moment,
so that ordinary tests pass.  txid-sync closes a window with a snapshot no later than its first
page's.
"""

from __future__ import annotations

from tests.scenarios.rivals import StampedReader
from tests.scenarios.stage import Stage


class LastSnapshot(StampedReader):
    """Counts as done what had ended when the last page was read."""

    def page(self) -> bool:
        """Take one page, and keep its snapshot."""
        self.until = self.snapshot()
        return super().page()


def test_a_lower_txid_commits_between_two_pages(stage: Stage) -> None:
    """The commit between two pages is lost by the rival, and new to the next window of ours."""
    stage.table(StampedReader.COLUMNS)
    rival = LastSnapshot(stage, limit=1)
    stage.size = 1
    stage.sync()
    slow = stage.session()
    slow.run("insert into public.t values (1, 'slow')")
    stage.run("insert into public.t values (2, 'quick')")

    rival.open()
    assert rival.page()
    assert stage.step()
    assert stage.reading
    slow.commit()
    assert not rival.page()
    rival.close()
    stage.sync()

    rival.poll()
    assert rival.wrong() == {"1": "missing"}
    stage.assert_equal()
