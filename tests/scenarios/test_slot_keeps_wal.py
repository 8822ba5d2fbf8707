"""Tools with a replication slot fill the source's disk while they are stopped.

Nothing is lost by it until the disk is full, or the server gives the slot up and its changes are
lost after all.  A stopped txid-sync holds back no WAL and no vacuum; its log is pruned after the
retention, and that is noticed.
"""

from __future__ import annotations

from tests.scenarios.rivals import SlotReader
from tests.scenarios.stage import Stage
from tests.support import eventually

BEHIND = "select pg_current_wal_lsn() - restart_lsn, catalog_xmin from pg_replication_slots"
MEGABYTE = "(select string_agg(md5(g::text), '') from generate_series(1, 32768) g)"
HOLDING = (
    "select pid from pg_stat_activity where backend_xmin is not null and pid <> pg_backend_pid()"
    " and datname = current_database()"
)


def test_both_are_stopped_while_writes_go_on(slot_stage: Stage) -> None:
    """Megabytes of WAL are kept for the rival's slot; ours left nothing behind, and catches up."""
    stage = slot_stage
    stage.table("id bigint primary key, v text")
    stage.sync()
    assert stage.run(BEHIND) == []
    rival = SlotReader(stage)
    stage.run("insert into public.t values (0, 'in the middle of a window'), (1, ''), (2, '')")
    assert stage.step()
    assert stage.reading
    assert stage.run(HOLDING) == []
    stage.pipeline.stop()

    for id in range(10, 14):
        stage.run(f"insert into public.t values ({id}, {MEGABYTE})")
    stage.run("checkpoint")
    ((kept, catalog_xmin),) = stage.run(BEHIND)
    assert kept > 2 * 2**20
    assert catalog_xmin is not None

    stage.run("select pg_drop_replication_slot(%s)", rival.slot)
    eventually(lambda: stage.run(BEHIND) == [])
    stage.new_process()
    stage.assert_equal()
