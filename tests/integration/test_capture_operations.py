"""Plain tables: each operation, with what it must leave in the log, for both ways of capture."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.capture import keys, watch
from tests.integration.streams import World, execute, world_of

pytestmark = pytest.mark.integration

TABLES = """
create table t (id int primary key, v text);
insert into t select g, 'a' from generate_series(1, 5) g;
create table parent (id int primary key);
insert into parent values (1), (2);
create table child (id int primary key, p int references parent on update cascade on delete cascade,
  q int references parent on update cascade on delete set null deferrable initially deferred);
insert into child values (10, 1, 1), (11, 1, 2), (12, 2, 2), (13, null, 1);
create table other (id int primary key references t on delete cascade);
"""

# name: (statements, the keys that must be logged: exactly these)
CASES: dict[str, tuple[str, set[tuple[str, ...]]]] = {
    "insert": ("insert into t values (6), (7)", keys(6, 7)),
    "insert of nothing": ("insert into t select 9 where false", set()),
    "update": ("update t set v = 'b' where id < 3", keys(1, 2)),
    "update of no row": ("update t set v = 'b' where id > 90", set()),
    "update that changes nothing": ("update t set v = v where id = 4", keys(4)),
    "delete": ("delete from t where id in (1, 5)", keys(1, 5)),
    "upsert, both arms": (
        "insert into t values (5, 'x'), (6, 'x') on conflict (id) do update set v = 'y'", keys(5, 6)
    ),
    "upsert that does nothing": ("insert into t values (5) on conflict do nothing", set()),
    "writable statement twice on one table": (
        ("with a as (update t set v = 'c' where id = 1 returning id),"
        " b as (insert into t values (8) returning id), d as (delete from t where id = 2)"
        " update t set v = 'd' where id = 3"),
        keys(1, 2, 3, 8),
    ),
    "key change": ("update t set id = 100 where id = 1", keys(1, 100)),
    "key changes of many": ("update t set id = id + 1000", keys(1, 2, 3, 4, 5, *range(1001, 1006))),
    "swap of keys": (
        ("update t set id = -1 where id = 1; update t set id = 1 where id = 2;"
        " update t set id = 2 where id = -1"),
        keys(1, 2, -1),
    ),
    "delete and insert of one key": (
        "begin; delete from t where id = 1; insert into t values (1, 'new'); commit", keys(1)
    ),
    "insert and delete of one key": (
        "begin; insert into t values (9); delete from t where id = 9; commit", keys(9)
    ),
    "savepoints": (
        ("begin; update t set v = 'x' where id = 1; savepoint a; update t set v = 'x' where id = 2;"
        " rollback to a; update t set v = 'x' where id = 3; release a; commit"),
        keys(1, 3),
    ),
    "rollback": ("begin; update t set v = 'x'; rollback", set()),
    "exception block": (
        ("do $$ begin insert into t values (20); begin insert into t values (21);"
        " raise division_by_zero; exception when division_by_zero then null; end;"
        " update t set v = 'e' where id = 2; end $$"),
        keys(20, 2),
    ),
    "replica role": (
        ("set session_replication_role = replica; update t set v = 'x' where id = 1;"
        " update t set id = 50 where id = 2; delete from t where id = 3; insert into t values (51);"
        " reset session_replication_role"),
        keys(1, 2, 50, 3, 51),
    ),
    "rule instead": (
        ("create rule r as on delete to t do instead update t set v = 'gone' where id = old.id;"
        " delete from t where id = 4"),
        keys(4),
    ),
    "view with an instead-of trigger": (
        ("create view w as select id, v from t;"
        " create function f() returns trigger language plpgsql as"
        " 'begin update t set v = new.v where id = old.id; return new; end';"
        " create trigger g instead of update on w for each row execute function f();"
        " update w set v = 'through the view' where id = 5"),
        keys(5),
    ),
    "updatable view": ("create view w as select * from t; delete from w where id = 2", keys(2)),
    "trigger that changes the key": (
        ("create function f() returns trigger language plpgsql as"
        " 'begin new.id := new.id + 70; return new; end';"
        " create trigger g before update on t for each row execute function f();"
        " update t set v = 'k' where id = 3"),
        keys(3, 73),
    ),
    "trigger that writes the same table": (
        ("create function f() returns trigger language plpgsql as"
        " 'begin if pg_trigger_depth() < 2 then update t set v = v || 2 where id = new.id + 1;"
        " end if; return null; end';"
        " create trigger g after update on t for each row execute function f();"
        " update t set v = 'k' where id = 3"),
        keys(3, 4),
    ),
    "columns come and go": (
        ("update t set v = 'a' where id = 1; alter table t add w int default 3; update t set w = 4"
        " where id = 2; alter table t drop v; update t set w = 5 where id = 3;"
        " alter table t rename to z; update z set w = 6 where id >= 4; alter table z rename to t"),
        keys(1, 2, 3, 4, 5),
    ),
}


@pytest.fixture(params=["statement", "row"])
def world(database: Any, request: pytest.FixtureRequest) -> Iterator[World]:
    """A database with tracked tables, captured in either way."""
    with world_of(database) as world:
        world.run(TABLES)
        for table in ("t", "parent", "child", "other"):
            world.track(table, request.param)
        yield world


@pytest.mark.parametrize("case", CASES)
def test_F14_F16_an_operation_logs_exactly_its_keys(world: World, case: str) -> None:
    """The log gains the keys of the rows that were written, and no others."""
    statements, expected = CASES[case]
    with watch(world, "t") as seen:
        for statement in [statements] if "$$" in statements or " as '" in statements else [
            part for part in statements.split(";") if part.strip()
        ]:  # fmt: skip
            world.run(statement)
    assert seen.keys == expected
    assert seen.truncations == 0


def test_a_statement_logs_one_row_under_its_top_level_txid(world: World) -> None:
    """All that a transaction writes stands under one txid, also inside savepoints."""
    session = world.session()
    with watch(world, "t") as seen:
        execute(session, "update t set v = 'x' where id <= 3")
        execute(session, "savepoint s")
        execute(session, "delete from t where id = 4")
        with session.cursor() as cursor:
            cursor.execute("select txid_current()")
            ((txid,),) = cursor.fetchall()
        session.commit()
    assert seen.by_txid == {txid: keys(1, 2, 3, 4)}
    captured = world.rows("select capture from txid_sync.tracked limit 1")[0][0]
    assert seen.log_rows == (2 if captured == "statement" else 4)


def test_a_statement_that_touches_nothing_takes_no_txid(world: World) -> None:
    """An update of no row leaves its transaction without a txid."""
    assert world.rows(
        "with u as (update t set v = 'x' where false returning 1) select count(*) from u"
    ) == [(0,)]
    session = world.session()
    execute(session, "update t set v = 'x' where id > 1000")
    with session.cursor() as cursor:
        cursor.execute("select txid_current_if_assigned()")
        assert cursor.fetchall() == [(None,)]


def test_copy_is_captured(world: World) -> None:
    """COPY logs every row that it brings."""
    with watch(world, "t") as seen, world.admin.cursor() as cursor:
        cursor.copy_from(io.StringIO("".join(f"{n}\tc\n" for n in range(100, 2600))), "t")
    assert seen.keys == keys(*range(100, 2600))


@pytest.mark.parametrize("outcome", ["commit prepared", "rollback prepared"])
def test_two_phase_commit(world: World, outcome: str) -> None:
    """A prepared transaction's rows come with its own commit, or never."""
    with watch(world, "t") as seen:
        session = world.session()
        execute(session, "update t set v = 'p' where id = 1")
        execute(session, f"prepare transaction '{outcome}'")
        session.rollback()
        world.run(f"{outcome} '{outcome}'")
    assert seen.keys == (keys(1) if outcome.startswith("commit") else set())


def test_cascades_are_captured(world: World) -> None:
    """Foreign keys that cascade, set null, and check at commit, log the rows that they write."""
    with watch(world, "child") as child, watch(world, "parent") as parent:
        world.run("update parent set id = 5 where id = 1")
    assert parent.keys == keys(1, 5)
    assert child.keys == keys(10, 11, 13)
    with watch(world, "child") as child:
        world.run("delete from parent where id = 2")
    assert child.keys == keys(11, 12)
    world.run("insert into other values (1), (2)")
    with watch(world, "other") as other:
        world.run("delete from t where id = 1")
    assert other.keys == keys(1)


def test_one_key_deleted_and_inserted_in_two_transactions(world: World) -> None:
    """Each of the two transactions logs the key."""
    with watch(world, "t") as seen:
        world.run("delete from t where id = 1")
        world.run("insert into t values (1, 'again')")
    assert list(seen.by_txid.values()) == [keys(1), keys(1)]


def test_F16_truncate_is_captured(world: World) -> None:
    """TRUNCATE logs one row without keys, for every table that CASCADE empties."""
    with watch(world, "child") as child, watch(world, "parent") as parent:
        world.run("truncate parent cascade")
    assert (child.truncations, parent.truncations) == (1, 1)
    assert child.log_rows == 1
    with watch(world, "child") as child:
        world.run("set session_replication_role = replica")
        world.run("truncate child")
        world.run("reset session_replication_role")
    assert child.truncations == 1


def test_merge_arms(world: World) -> None:
    """Each arm of MERGE logs what it wrote; a key change in it logs both keys."""
    if world.admin.server_version < 150000:
        assert "merge" not in {row[0] for row in world.rows("select word from pg_get_keywords()")}
        return
    with watch(world, "t") as seen:
        world.run(
            "merge into t using (values (1), (2), (3), (4), (60), (61)) s(id) on t.id = s.id"
            " when matched and t.id = 1 then delete"
            " when matched and t.id = 2 then update set v = 'merged'"
            " when matched and t.id = 3 then update set id = 33"
            " when matched then do nothing"
            " when not matched and s.id = 60 then insert values (60, 'm')"
            " when not matched then do nothing"
        )
    assert seen.keys == keys(1, 2, 3, 33, 60)


def test_F14_tracking_leaves_the_table_as_it_is(world: World) -> None:
    """Capture adds nothing to the user's table: its columns are as they were made."""
    assert world.rows(
        "select array_agg(attname::text order by attnum) from pg_attribute"
        " where attrelid = 't'::regclass and attnum > 0"
    ) == [(["id", "v"],)]
