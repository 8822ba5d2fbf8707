"""Tools with ordinary triggers or application timestamps miss writes that go around them.

Under `session_replication_role = replica` (restores, migrations, other replication tools) ordinary
triggers do not fire; COPY and an administrator's UPDATE do not set the application's timestamp.
txid-sync's triggers are ENABLE ALWAYS and look at no column of the application.
"""

from __future__ import annotations

import io

from tests.scenarios.rivals import EVERY_ROW, Outbox, timestamp_poller
from tests.scenarios.stage import Stage


def test_F16_writes_in_the_replica_role(stage: Stage) -> None:
    """An insert, an update and a delete without ordinary triggers are lost by the outbox."""
    stage.table("id bigint primary key, v text")
    stage.run("insert into public.t select g, 'old' from generate_series(1, 3) g")
    rival = Outbox(stage, EVERY_ROW)
    stage.sync()
    restoring = stage.session()
    restoring.run("set session_replication_role = replica")
    restoring.run("insert into public.t values (4, 'new')")
    restoring.run("update public.t set v = 'new' where id = 1")
    restoring.run("delete from public.t where id = 2")
    restoring.commit()
    stage.run("update public.t set v = 'ordinary' where id = 3")
    rival.drain()
    assert rival.wrong() == {"1": "stale", "2": "ghost", "4": "missing"}
    stage.assert_equal()


def test_F16_writes_past_the_application(stage: Stage) -> None:
    """A COPY with old timestamps and an update by hand are lost by the timestamp poller."""
    stage.table("id bigint primary key, v text, updated_at timestamptz default now()")
    stage.run("insert into public.t values (1, 'old'), (2, 'old')")
    rival = timestamp_poller(stage)
    rival.drain()
    stage.sync()
    admin = stage.session()
    with admin.connection.cursor() as cursor:
        cursor.copy_expert("copy public.t from stdin", io.StringIO("3\tcopied\t2001-01-01\n"))
    admin.run("update public.t set v = 'by hand' where id = 1")
    admin.commit()
    rival.drain()
    assert rival.wrong() == {"1": "stale", "3": "missing"}
    stage.assert_equal()
