"""Applications that report their own statements miss the rows that the database changes by itself.

A delete of the parent deletes the children, or puts their foreign key to null: no statement of the
application names a child.  txid-sync's triggers fire for the rows of a cascade like for any other.
"""

from __future__ import annotations

from tests.scenarios.rivals import FIRST_LOAD, Reader
from tests.scenarios.stage import Stage


class Reporting(Reader):
    """An application that says after each of its statements which rows of t it has changed."""

    def changes(self, statement: str, *ids: str) -> None:
        """Run a statement, and report what it says that it changes."""
        self.stage.run(statement)
        self.fetch(ids)


def test_children_that_go_with_their_parent(stage: Stage) -> None:
    """ON DELETE CASCADE and ON DELETE SET NULL: nobody reports the children."""
    stage.run("create table public.parent (id bigint primary key)")
    stage.table(
        "id bigint primary key,"
        " parent bigint references public.parent on delete cascade,"
        " editor bigint references public.parent on delete set null"
    )
    stage.run("insert into public.parent values (1), (2), (3)")
    stage.run("insert into public.t values (1, 1, 2), (2, 1, 2), (3, 3, 2), (4, 3, 3)")
    application = Reporting(stage)
    application.take(application.rows(FIRST_LOAD))
    stage.sync()
    application.changes("delete from public.parent where id = 1")
    stage.sync()
    application.changes("delete from public.parent where id = 2")
    stage.sync()
    assert application.wrong() == {"1": "ghost", "2": "ghost", "3": "stale"}
    application.changes("update public.t set editor = 3 where id = 3", "3")
    assert application.wrong() == {"1": "ghost", "2": "ghost"}
    stage.assert_equal()


def test_a_changed_parent_key(stage: Stage) -> None:
    """ON UPDATE CASCADE changes the children's column, without a statement about them."""
    stage.run("create table public.parent (id bigint primary key)")
    stage.table("id bigint primary key, parent bigint references public.parent on update cascade")
    stage.run("insert into public.parent values (1)")
    stage.run("insert into public.t values (1, 1), (2, 1), (3, 1)")
    application = Reporting(stage)
    application.take(application.rows(FIRST_LOAD))
    stage.sync()
    application.changes("update public.parent set id = 7")
    assert application.wrong() == dict.fromkeys("123", "stale")
    stage.assert_equal()
