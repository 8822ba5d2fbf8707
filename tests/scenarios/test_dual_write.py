"""Applications that write to database and index themselves keep what was never committed.

What is indexed before the commit stays after a rollback, also after a rollback to a savepoint, and
misses what deferred triggers write at the commit; indexed after the commit it is lost in a crash
between the two.  txid-sync reads committed rows, in a snapshot of its own.
"""

from __future__ import annotations

from tests.scenarios.rivals import Reader
from tests.scenarios.stage import Session, Stage


class Application(Reader):
    """Indexes the row as its own transaction sees it, right after writing it."""

    def write(self, session: Session, id: int, value: str) -> None:
        """Insert or update a row, and its document."""
        upsert = "insert into public.t values (%s, %s) on conflict (id) do update set v = %s"
        session.run(upsert, id, value, value)
        self.take(session.run("select id::text, row_to_json(t) from public.t where id = %s", id))


def test_rollbacks_leave_phantoms(stage: Stage) -> None:
    """A rollback to a savepoint and one of a whole transaction: one stale document, one ghost."""
    stage.table("id bigint primary key, v text")
    application = Application(stage)
    session = stage.session()
    application.write(session, 1, "before")
    session.commit()
    stage.sync()

    session.run("savepoint a")
    application.write(session, 1, "undone")
    session.run("rollback to savepoint a")
    application.write(session, 2, "kept")
    stage.sync()
    session.commit()
    stage.sync()
    application.write(session, 3, "undone too")
    stage.sync()
    session.rollback()

    assert application.wrong() == {"1": "stale", "3": "ghost"}
    stage.assert_equal()


def test_a_deferred_trigger_writes_at_the_commit(stage: Stage) -> None:
    """The row's last value comes after the application's last look at it."""
    stage.table("id bigint primary key, v text")
    stage.run(
        "create function public.finish() returns trigger language plpgsql as $$ begin"
        " update public.t set v = v || ' and finished' where id = new.id and v !~ 'finished';"
        " return null; end $$"
    )
    stage.run(
        "create constraint trigger finish after insert on public.t initially deferred"
        " for each row execute function public.finish()"
    )
    application, session = Application(stage), stage.session()
    stage.sync()
    application.write(session, 1, "written")
    session.commit()
    assert application.wrong() == {"1": "stale"}
    stage.assert_equal()
    assert stage.held()["1"]["v"] == "written and finished"
