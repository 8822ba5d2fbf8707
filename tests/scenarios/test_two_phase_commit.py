"""Triggers that NOTIFY break two-phase commit, and pollers with a look-back lose its late commits.

PostgreSQL refuses to prepare a transaction that has notified.  A prepared transaction may be
committed days later, under a txid thousands below the newest: a poller that reads the last so many
txids again never meets it.  txid-sync's triggers only insert, and its cursor keeps the open txid.
"""

from __future__ import annotations

import psycopg2.errors
import pytest

from tests.scenarios.rivals import ColumnPoller
from tests.scenarios.stage import Stage
from tests.scenarios.test_xmin_late_commit import XMIN

LOOK_BACK = 20


class LookingBack(ColumnPoller):
    """Reads the last twenty txids again at each poll."""

    def bound(self) -> str:
        """The condition on the column."""
        return f"{XMIN} > %s::bigint - {LOOK_BACK}"


def test_F22_notify_refuses_to_be_prepared(stage: Stage) -> None:
    """With a notifying trigger PREPARE TRANSACTION is an error; with ours alone it works."""
    stage.table("id bigint primary key")
    stage.run(
        "create function public.tell() returns trigger language plpgsql as"
        " $$ begin perform pg_notify('changes', new.id::text); return null; end $$"
    )
    stage.sync()
    writer = stage.session()
    writer.run("insert into public.t values (1)")
    writer.run(f"prepare transaction '{stage.prefix}ours'")
    stage.run(f"commit prepared '{stage.prefix}ours'")
    stage.assert_equal()

    stage.run(
        "create trigger tell after insert on public.t for each row execute function public.tell()"
    )
    writer.rollback()
    writer.run("insert into public.t values (2)")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="NOTIFY"):
        writer.run(f"prepare transaction '{stage.prefix}theirs'")
    writer.rollback()
    stage.assert_equal()
    assert sorted(stage.held()) == ["1"]


def test_a_prepared_transaction_is_committed_days_later(stage: Stage) -> None:
    """Prepared, then many windows of others, a new process, and only then committed."""
    stage.table("id bigint primary key, v text")
    stage.run("insert into public.t values (1, 'old')")
    rival = LookingBack(stage, XMIN, "0")
    rival.poll()
    stage.sync()
    writer = stage.session()
    writer.run("update public.t set v = 'prepared' where id = 1")
    writer.run(f"prepare transaction '{stage.prefix}p'")
    for id in range(2, LOOK_BACK + 4):
        stage.run("insert into public.t values (%s, 'x')", id)
        rival.poll()
        stage.sync()
    stage.new_process()
    assert stage.held()["1"]["v"] == "old"
    stage.run(f"commit prepared '{stage.prefix}p'")
    rival.poll()
    assert rival.wrong() == {"1": "stale"}
    stage.assert_equal()
