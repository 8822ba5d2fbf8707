"""Keys of every kind, keys that change only in their text, and awkward names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg2 import sql

from tests.integration.capture import keys, log_of, watch
from tests.integration.streams import World, world_of
from txid_sync import schema
from txid_sync.errors import PreconditionError, UsageError

pytestmark = pytest.mark.integration


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """A fresh database with our schema."""
    with world_of(database) as world:
        yield world


TYPES = {
    "bigint": ("bigint", "-9223372036854775808"),
    "smallint": ("smallint", "7"),
    "numeric": ("numeric(20, 3)", "1.500"),
    "double precision": ("double precision", "-0.1"),
    "text": ("text", "a,b\\c"),
    "varchar": ("varchar(20)", "ü"),
    "char": ("char(4)", "ab"),  # its cast to text drops the blanks
    "one-byte char": ('"char"', "x"),
    "name": ("name", "n"),
    "uuid": ("uuid", "00000000-0000-0000-0000-000000000001"),
    "date": ("date", "infinity"),
    "timestamptz": ("timestamptz", "2020-01-01 00:00:00+00"),
    "interval": ("interval", "1 day"),
    "inet": ("inet", "10.0.0.0/8"),
    "bytea": ("bytea", "\\x00ff"),
    "boolean": ("boolean", "true"),
    "bit": ("bit(3)", "101"),
    "varbit": ("bit varying(5)", "10"),
    "range": ("int4range", "[1,5)"),
    "jsonb": ("jsonb", '{"a": 1}'),
    "enum": ("s.colour", "red"),
    "domain": ("s.positive", "5"),
    "domain over text": ("s.short", "x"),
    "composite": ("s.pair", "(1,2)"),
}


@pytest.mark.parametrize("capture", ["statement", "row"])
def test_W07_keys_of_every_type_are_logged_as_themselves(world: World, capture: str) -> None:
    """A key column of each type comes through insert, key change and delete unchanged."""
    world.run("create schema s; create type s.colour as enum ('red', 'green')")
    world.run("create domain s.positive as int check (value > 0)")
    world.run("create type s.pair as (a int, b int)")
    world.run("create domain s.short as text check (length(value) < 9)")
    for number, (type_name, value) in enumerate(TYPES.values()):
        world.run(f"create table t{number} (o int, k {type_name}, primary key (o, k))")
        schema.track(world.admin, f"t{number}", capture)
        with watch(world, f"t{number}") as seen:
            world.run(f"insert into t{number} values (1, %s)", value)
            world.run(f"update t{number} set o = 2")
            world.run(f"delete from t{number}")
        assert seen.keys == keys((1, value), (2, value)), type_name
        ((logged, own),) = world.rows(
            "select format_type(a.atttypid, -1), format_type(t.typarray, -1) from pg_attribute a,"
            " pg_attribute b join pg_type t on t.oid = b.atttypid where a.attname = 'k2'"
            " and a.attrelid = %s::regclass and b.attname = 'k' and b.attrelid = %s::regclass",
            f"txid_sync.{log_of(world, f't{number}').log}",
            f"t{number}",
        )
        assert logged == own


@pytest.mark.parametrize("capture", ["statement", "row"])
@pytest.mark.parametrize("kind", ["numeric", "citext", "collation"])
def test_F14_a_key_that_changes_only_in_its_text_logs_both(
    world: World, kind: str, capture: str
) -> None:
    """Keys that are equal but look different are two documents, so both are logged."""
    column, old, new = {
        "numeric": ("numeric", "1.0", "1.00"),
        "citext": ("citext", "abc", "ABC"),
        "collation": ('text collate "blind"', "abc", "ABC"),
    }[kind]
    available = "select count(*) from pg_available_extensions where name = 'citext'"
    if kind == "citext":
        assert world.rows(available) == [(1,)]
        world.run("create extension citext")
    if kind == "collation":
        world.run(
            "create collation blind (provider = icu, locale = 'und-u-ks-level2',"
            " deterministic = false)"
        )
    world.run(f"create table t (k {column} primary key)")
    world.track("t", capture)
    world.run("insert into t values (%s)", old)
    with watch(world, "t") as seen:
        world.run("update t set k = %s", new)
    assert seen.keys == keys(old, new)
    with watch(world, "t") as seen:
        world.run("update t set k = k")
    assert (seen.keys, seen.log_rows) == (keys(new), 1)


AWKWARD = [
    ("public", "Mixed Case", "Id"),
    ("public", 'qu"o"te', 'k"'),
    ("public", "semi;colon'; drop table x; --", "a'b;"),
    ("public", "ünïcödé", "schlüssel"),
    ("public", "x" * 63, "y" * 63),
    ("public", "é" * 31, "%s"),
    ("Other Schema", "select", "from"),
    ("public", "old", "new"),
    ("public", "txid_sync_changed", "chunk"),
    ("public", "c", "c"),
    ("public", "log_1", "k1"),
    ("public", "t$$", "$$ $source$"),
    ("public", "back\\slash", "tg_op"),
]


@pytest.mark.parametrize("capture", ["statement", "row"])
def test_W05_awkward_names_in_any_schema(world: World, capture: str) -> None:
    """Names of schemas, tables and keys are quoted wherever they go."""
    world.run('create schema "Other Schema"')
    for schema_name, table_name, column in AWKWARD:
        table, key = sql.Identifier(schema_name, table_name), sql.Identifier(column)
        text = table.as_string(world.admin)

        def run(statement: str, table: sql.Identifier = table, key: sql.Identifier = key) -> None:
            with world.admin.cursor() as cursor:
                cursor.execute(sql.SQL(statement).format(t=table, k=key))

        run("create table {t} ({k} text, n int default 0, primary key ({k}, n))")
        schema.track(world.admin, text, capture)
        schema.track(world.admin, text, capture)
        with watch(world, text) as seen:
            run("insert into {t} select g::text, 0 from generate_series(1, 1500) g")
            run("update {t} set n = 5 where {k} = '1'")
            run("delete from {t} where {k} in ('2', '3')")
        assert seen.keys == keys(*((n, 0) for n in range(1, 1501)), (1, 5)), text
        assert schema.untrack(world.admin, text)
        run("drop table {t}")


def test_which_index_becomes_the_key(world: World) -> None:
    """The primary key, else the narrowest unique index on plain not-null columns; or the given."""
    world.run(
        "create table t (a text not null, b int not null, c int, d int not null, e text not null)"
    )
    world.run("create unique index on t (a, e)")
    world.run("create unique index on t (c)")  # may be null
    world.run("create unique index on t (b) where b > 0")  # partial
    world.run("create unique index on t ((d + 1))")  # expression
    world.track("t")
    assert log_of(world, "t").key == ["a", "e"]
    world.run("create unique index on t (d) include (c)")
    world.track("t")
    assert log_of(world, "t").key == ["a", "e"], "what is tracked stays"
    schema.untrack(world.admin, "t")
    world.track("t")
    assert log_of(world, "t").key == ["d"]
    schema.track(world.admin, "t", key=["e", "a"])
    assert log_of(world, "t").key == ["a", "e"], "the order is the index's"
    world.run("alter table t add primary key (b)")
    world.track("t")
    assert log_of(world, "t").key == ["a", "e"]
    schema.track(world.admin, "t", key=["b"])
    assert log_of(world, "t").key == ["b"]
    with pytest.raises(UsageError, match="no unique index on exactly"):
        schema.track(world.admin, "t", key=["c"])


def test_a_deferrable_key_is_allowed(world: World) -> None:
    """A key that is unique only at commit is unique in every snapshot; swaps log both keys."""
    world.run("create table t (id int primary key deferrable initially deferred)")
    world.track("t")
    world.run("insert into t values (1), (2)")
    with watch(world, "t") as seen:
        world.run("update t set id = 3 - id")
    assert seen.keys == keys(1, 2)


@pytest.mark.parametrize("capture", ["statement", "row"])
def test_a_key_column_cannot_be_retyped_behind_our_back(world: World, capture: str) -> None:
    """Retyping a key column is refused while tracked; untrack, alter, track is the way."""
    world.run("create table t (id int primary key); insert into t values (1)")
    world.track("t", capture)
    with pytest.raises(Exception, match="used in a trigger definition"):
        world.run("alter table t alter id type bigint")
    with pytest.raises(Exception, match="other objects depend on it"):
        world.run("alter table t drop id")
    schema.untrack(world.admin, "t")
    world.run("alter table t alter id type bigint")
    world.track("t", capture)
    with watch(world, "t") as seen:
        world.run("insert into t values (5000000000)")
    assert seen.keys == keys(5000000000)


def test_a_renamed_key_needs_tracking_again(world: World) -> None:
    """After renaming a key column writes fail, loudly, until the table is tracked again."""
    world.run("create table t (id int primary key)")
    world.track("t")
    world.run("alter table t rename id to number")
    with pytest.raises(Exception, match="id"):
        world.run("insert into t values (1)")
    world.track("t")
    with watch(world, "t") as seen:
        world.run("insert into t values (1)")
    assert seen.keys == keys(1)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("create table t (id int)", "no primary key"),
        ("create table t (id int unique)", "no primary key"),
        ("create table t (id int[] primary key)", "array"),
        ("create domain d as int[]; create table t (id d primary key)", "array"),
        ("create unlogged table t (id int primary key)", "unlogged"),
        ("create temp table t (id int primary key)", "temporary"),
        ("create view t as select 1 as id", "not a table"),
        ("create materialized view t as select 1 as id", "not a table"),
        ("create sequence t", "not a table"),
        (
            ("create foreign data wrapper w; create server r foreign data wrapper w;"
            " create foreign table t (id int) server r"),
            "not a table",
        ),
        (
            ("create foreign data wrapper w; create server r foreign data wrapper w;"
            " create table t (id int not null) partition by list (id);"
            " create foreign table t1 partition of t for values in (1) server r"),
            "foreign table",
        ),
    ],
)
def test_refusals_have_a_message_and_a_hint(world: World, table: str, message: str) -> None:
    """What cannot be captured is refused, with what to do, and nothing is left behind."""
    world.run(table)
    with pytest.raises(PreconditionError, match=message) as refused:
        world.track("t")
    assert refused.value.hint
    assert world.rows("select count(*) from txid_sync.tracked") == [(0,)]


@pytest.mark.parametrize("table", ["txid_sync.tracked", "pg_catalog.pg_class", "missing"])
def test_other_tables_that_are_refused(world: World, table: str) -> None:
    """Our own tables, the catalog and tables that do not exist cannot be tracked."""
    with pytest.raises(PreconditionError):
        world.track(table)
    world.run("create table t (id int primary key)")
    with pytest.raises(UsageError, match="statement"):
        world.track("t", "columns")
