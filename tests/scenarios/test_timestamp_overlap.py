"""Timestamp pollers that look back a little lose what takes longer than they look back.

Reading `updated_at > last - overlap` again only turns the question into how long a transaction
may be open, and nobody keeps to the answer.  txid-sync remembers the open transaction by its txid,
for as long as it takes.
"""

from __future__ import annotations

from tests.scenarios.rivals import ColumnPoller
from tests.scenarios.stage import Stage
from tests.support import eventually

OVERLAP = "interval '50 milliseconds'"


class Overlapping(ColumnPoller):
    """Reads everything of the last 50 milliseconds again, where others take minutes."""

    def bound(self) -> str:
        """The condition on the column."""
        return f"updated_at > %s::timestamptz - {OVERLAP}"


def test_a_transaction_longer_than_the_overlap(stage: Stage) -> None:
    """A row whose transaction was open for longer than the overlap is lost by the poller."""
    stage.table("id bigint primary key, updated_at timestamptz not null default now()")
    rival = Overlapping(stage, "updated_at", "-infinity")
    stage.sync()

    slow = stage.session()
    slow.run("insert into public.t values (1)")
    passed = f"select clock_timestamp() > updated_at + {OVERLAP} from public.t where id = 1"
    eventually(lambda: slow.run(passed) == [(True,)])
    stage.run("insert into public.t values (2)")
    rival.poll()
    stage.sync()
    slow.commit()
    rival.poll()

    assert rival.wrong() == {"1": "missing"}
    stage.assert_equal()
