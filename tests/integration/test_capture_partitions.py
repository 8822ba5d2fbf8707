"""Partitioned and inheriting tables: writes by every way in, moves, partitions that come and go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from tests.integration.capture import keys, watch
from tests.integration.streams import World, world_of
from txid_sync.errors import PreconditionError

pytestmark = pytest.mark.integration

PARTITIONED = """
create table p (a int, b int, v text, primary key (a, b)) partition by range (a);
create table p1 partition of p for values from (0) to (10);
create table p2 partition of p for values from (10) to (20) partition by list (b);
create table p2x partition of p2 for values in (1, 2, 3);
create table p2y partition of p2 default;
insert into p values (1, 1), (2, 1), (11, 1), (11, 7);
"""


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """A tracked table with partitions on two levels."""
    with world_of(database) as world:
        world.run(PARTITIONED)
        world.track("p")
        yield world


CASES = {
    "insert by the parent": ("insert into p values (3, 1), (12, 9)", keys((3, 1), (12, 9))),
    "insert into a leaf": ("insert into p2y values (12, 9)", keys((12, 9))),
    "update by the parent": ("update p set v = 'x' where b = 1", keys((1, 1), (2, 1), (11, 1))),
    "update of a leaf": ("update p1 set v = 'x'", keys((1, 1), (2, 1))),
    "update of a middle level": ("update p2 set v = 'x'", keys((11, 1), (11, 7))),
    "delete by the parent": ("delete from p where a = 11", keys((11, 1), (11, 7))),
    "delete from a leaf": ("delete from p1 where a = 1", keys((1, 1))),
    "key change inside a leaf": ("update p set a = 5 where a = 1", keys((1, 1), (5, 1))),
    "move by update": ("update p set a = 15 where a = 1", keys((1, 1), (15, 1))),
    "move below one level": ("update p set b = 8 where (a, b) = (11, 1)", keys((11, 1), (11, 8))),
    "upsert by the parent": (
        "insert into p values (1, 1), (4, 4) on conflict (a, b) do update set v = 'u'",
        keys((1, 1), (4, 4)),
    ),
    "replica role": (
        ("set session_replication_role = replica; update p set a = 16 where a = 2;"
        " reset session_replication_role"),
        keys((2, 1), (16, 1)),
    ),
    "copy into a leaf by the parent": (
        ("create temp table s as select 7 as a, g as b from generate_series(1, 3) g;"
        " insert into p select * from s"),
        keys((7, 1), (7, 2), (7, 3)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_F14_writes_to_partitions_log_their_keys(world: World, case: str) -> None:
    """A write through the parent, a middle level or a leaf logs exactly its keys, old and new."""
    statements, expected = CASES[case]
    with watch(world, "p") as seen:
        world.run(statements)
    assert seen.keys == expected


def test_W07_moves_by_merge_log_both_keys(world: World) -> None:
    """MERGE that moves rows between partitions logs where they were and where they are."""
    if world.admin.server_version < 150000:
        with pytest.raises(psycopg2.errors.SyntaxError):
            world.run("merge into p using p s on false")
        return
    with watch(world, "p") as seen:
        world.run(
            "merge into p using (values (1), (2), (3)) s(a) on p.a = s.a"
            " when matched and p.a = 1 then update set a = 17"
            " when matched then delete when not matched then insert values (s.a, 5)"
        )
    assert seen.keys == keys((1, 1), (17, 1), (2, 1), (3, 5))


@pytest.mark.parametrize(("table", "least"), [("p", 1), ("p1", 1), ("p2", 1), ("p2x", 1)])
def test_F16_truncate_of_any_level_is_captured(world: World, table: str, least: int) -> None:
    """TRUNCATE of the parent, a middle level or a single leaf logs the whole table."""
    with watch(world, "p") as seen:
        world.run(f"truncate {table}")
    assert seen.truncations >= least
    assert seen.keys == set()


def test_a_partition_added_later_is_captured(world: World) -> None:
    """A new or attached partition has the row triggers; tracking again adds the TRUNCATE one."""
    world.run("create table p3 partition of p for values from (20) to (30)")
    world.run("create table p4 (b int not null, v text, a int not null)")
    world.run("alter table p attach partition p4 for values from (30) to (40)")
    with watch(world, "p") as seen:
        world.run("insert into p values (21, 1)")
        world.run("insert into p3 values (22, 1)")
        world.run("insert into p4 (a, b) values (31, 1)")
        world.run("update p set a = 32 where a = 21")
    assert seen.keys == keys((21, 1), (22, 1), (31, 1), (32, 1))
    weak = "select count(*) from pg_trigger where tgname like 'txid%%' and tgenabled <> 'A'"
    before = world.rows("select id, log from txid_sync.tracked")
    world.track("p")
    assert world.rows("select id, log from txid_sync.tracked") == before
    assert world.rows(weak) == [(0,)]
    with watch(world, "p") as seen:
        world.run("truncate p3")
    assert seen.truncations == 1
    with watch(world, "p") as seen:
        world.run("truncate p")
    assert seen.truncations >= 1


def test_a_detached_partition_is_let_go(world: World) -> None:
    """Tracking again takes our last trigger from a table that is no partition any more."""
    world.run("alter table p detach partition p1")
    world.track("p")
    count = "select count(*) from pg_trigger where tgrelid = 'p1'::regclass and tgname like 'txid%'"
    assert world.rows(count) == [(0,)]
    world.run("insert into p1 values (8, 8)")
    with watch(world, "p") as seen:
        world.run("truncate p1")
    assert seen.log_rows == 0


def test_a_partition_may_be_tracked_by_itself(world: World) -> None:
    """A leaf with a log of its own also logs what is written through the parent."""
    world.track("p1")
    with watch(world, "p1") as leaf, watch(world, "p") as parent:
        world.run("update p set v = 'x' where a = 1")
        world.run("update p set a = 15 where a = 2")
    assert leaf.keys == keys((1, 1), (2, 1))
    assert parent.keys == keys((1, 1), (2, 1), (15, 1))
    with pytest.raises(PreconditionError, match="through its parent"):
        world.track("p1", "statement")


def test_statement_capture_of_a_partitioned_table_is_refused(world: World) -> None:
    """Statement triggers would miss the keys of moving rows."""
    with pytest.raises(PreconditionError, match="its partitions"):
        world.track("p", "statement")


def test_inheritance(world: World) -> None:
    """A table with heirs is refused; an heir is captured by rows, whatever name is written to."""
    world.run("create table base (id int primary key, v text)")
    world.run("create table heir (primary key (id)) inherits (base)")
    with pytest.raises(PreconditionError, match="inherit"):
        world.track("base")
    world.track("heir")
    with watch(world, "heir") as seen:
        world.run("insert into heir values (1), (2), (3)")
        world.run("update base set v = 'x' where id = 1")
        world.run("update base set id = 9 where id = 2")
        world.run("delete from base where id = 3")
    assert seen.keys == keys(1, 2, 3, 9)
    with watch(world, "heir") as seen:
        world.run("truncate base")
    assert seen.truncations == 1
