"""Tools that take their changes from NOTIFY lose what is sent while nobody listens.

A notification is not stored: a dropped connection, a restart, a fail-over, and the payloads of
those seconds are gone.  txid-sync reads a table of changes; nothing has to be heard.
"""

from __future__ import annotations

from tests.scenarios.rivals import EVERY_ROW, Outbox
from tests.scenarios.stage import Stage

NOTIFY = "perform pg_notify('changes', coalesce(new.id, old.id)::text);"


class Listener(Outbox):
    """Hears the keys of changed rows, and reads the rows."""

    def listen(self) -> None:
        """Connect and listen."""
        self._connection = self.stage.database.connect()
        self.rows("listen changes")

    def drain(self) -> None:
        """Take what was heard; notifications come with the answer to any statement."""
        self.rows("select 1")
        heard = [notification.payload for notification in self._connection.notifies]
        self._connection.notifies.clear()
        self.fetch(heard)


def test_changes_while_the_listener_reconnects(stage: Stage) -> None:
    """A connection is cut: what changes before the next LISTEN is lost by the rival."""
    stage.table("id bigint primary key, v text")
    stage.run("insert into public.t values (1, 'old'), (2, 'old')")
    rival = Listener(stage, EVERY_ROW, NOTIFY)
    rival.listen()
    stage.sync()
    stage.run("update public.t set v = 'heard' where id = 1")
    rival.drain()
    assert rival.wrong() == {}

    others = "pid <> pg_backend_pid() and datname = current_database()"
    stage.run(f"select pg_terminate_backend(pid, 10000) from pg_stat_activity where {others}")
    stage.run("update public.t set v = 'unheard' where id = 2")
    stage.run("insert into public.t values (3, 'unheard')")
    rival.listen()
    stage.run("delete from public.t where id = 1")
    rival.drain()
    assert rival.wrong() == {"2": "stale", "3": "missing"}
    stage.assert_equal()
