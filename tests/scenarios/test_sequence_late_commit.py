"""Sequence pollers lose numbers that were drawn early and committed late.

They ask for `seq > last`, but a sequence gives its numbers in the order of asking: across
transactions, and with a cache across sessions, numbers become visible in another order.
txid-sync's sequence only orders the log rows of one transaction.
"""

from __future__ import annotations

import pytest

from tests.scenarios.rivals import ColumnPoller
from tests.scenarios.stage import Stage


def test_a_number_below_the_last_one_commits(stage: Stage) -> None:
    """The first to draw is the last to commit: its rows are lost by the poller."""
    stage.table("id bigint primary key, seq bigserial")
    rival = ColumnPoller(stage, "seq", "0")
    stage.sync()
    slow = stage.session()
    slow.run("insert into public.t values (1), (2)")
    stage.run("insert into public.t values (3)")
    rival.drain()
    stage.sync()
    slow.commit()
    rival.drain()
    assert rival.wrong() == {"1": "missing", "2": "missing"}
    stage.assert_equal()


@pytest.mark.parametrize("cache", [1, 20])
def test_numbers_kept_in_a_session(stage: Stage, cache: int) -> None:
    """With a cache nobody even has to be slow: each session has numbers in stock."""
    stage.table("id bigint primary key, seq bigint not null")
    stage.run(f"create sequence public.numbers cache {cache}")
    stage.run("alter table public.t alter seq set default nextval('public.numbers')")
    rival = ColumnPoller(stage, "seq", "0")
    stage.sync()
    one, other = stage.session(), stage.session()
    for id, session in enumerate((one, other, one, other), 1):
        session.run("insert into public.t values (%s)", id)
        session.commit()
        rival.drain()
        stage.sync()
    assert rival.wrong() == ({} if cache == 1 else {"3": "missing"})
    stage.assert_equal()
