"""Readers of the WAL that look up the row act on commits which nobody can see yet.

A commit record is in the WAL before the transaction becomes visible, for as long as a synchronous
standby takes to answer.  The reader looks the key up, finds the old row, writes it, acknowledges,
and hears no more of it.  txid-sync asks for what a snapshot sees, and reads it in that snapshot.
"""

from __future__ import annotations

import threading

from tests.scenarios.rivals import SlotReader
from tests.scenarios.stage import Stage
from tests.support import eventually

WAITING = (
    "select count(*) from pg_stat_activity"
    " where wait_event = 'SyncRep' and backend_type = 'client backend'"
)


def standby(stage: Stage, name: str) -> None:
    """Which standby every commit waits for."""
    stage.run(f"alter system set synchronous_standby_names = '{name}'")
    stage.run("select pg_reload_conf()")
    eventually(lambda: stage.run("show synchronous_standby_names") == [(name,)])


def test_a_commit_waits_for_its_standby(slot_stage: Stage) -> None:
    """An update and an insert are in the WAL and not visible: the rival reads the old state."""
    stage = slot_stage
    stage.table("id bigint primary key, v text")
    stage.run("insert into public.t values (1, 'old')")
    rival = SlotReader(stage)
    stage.sync()
    writer = stage.session()
    writer.run("update public.t set v = 'new' where id = 1")
    writer.run("insert into public.t values (2, 'new')")
    standby(stage, "nobody")
    thread = threading.Thread(target=writer.commit)
    thread.start()
    try:
        eventually(lambda: stage.run(WAITING) == [(1,)])
        heard = [columns["id"] for _, columns in rival.consume()]
        rival.fetch(heard)
        stage.sync()
    finally:
        standby(stage, "")
        thread.join()

    assert heard == ["1", "2"]
    assert rival.consume() == []
    assert rival.wrong() == {"1": "stale", "2": "missing"}
    stage.assert_equal()
