"""Who may do what: writers without rights, owners, readers, and attempts to misuse the definer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg2 import errors as pg

from tests.integration.capture import keys, log_of, watch
from tests.integration.roles import connect, role, roles_of
from tests.integration.streams import World, execute, world_of
from txid_sync import schema
from txid_sync.errors import PreconditionError

pytestmark = pytest.mark.integration


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """A tracked table, and roles of this database's own: writer, owner, reader."""
    with world_of(database) as world, roles_of(world, "writer", "owner", "reader") as roles:
        world.run("create table t (id int primary key, v text)")
        world.track("t")
        world.run(f"grant select, insert, update, delete, truncate on t to {roles[0]}")
        world.run(f"create schema theirs authorization {roles[1]}")
        yield world


def test_A01_a_writer_needs_no_right_on_our_schema(world: World) -> None:
    """Whoever may write the table is captured, and may not even look into the schema."""
    writer = connect(world, "writer")
    with watch(world, "t") as seen:
        execute(writer, "insert into t values (1), (2), (3)")
        execute(writer, "update t set id = 4 where id = 1")
        execute(writer, "delete from t where id = 2")
    assert seen.keys == keys(1, 2, 3, 4)
    with watch(world, "t") as seen:
        execute(writer, "truncate t")
    assert seen.truncations == 1
    log = log_of(world, "t").log
    for statement in (
        f"select * from txid_sync.{log}",
        f"insert into txid_sync.{log} values (1, 1, 0)",
        "select txid_sync.track('t')",
        "select txid_sync.untrack('t')",
        "select nextval('txid_sync.log_seq')",
    ):
        with pytest.raises(pg.InsufficientPrivilege):
            execute(writer, statement)


def test_the_capture_functions_belong_to_a_role_that_can_only_log(world: World) -> None:
    """The definer may add to logs and draw numbers; it cannot log in, read or create anything."""
    ((owner, login),) = world.rows(
        "select r.rolname, r.rolcanlogin from pg_proc p join pg_roles r on r.oid = p.proowner"
        " where p.pronamespace = 'txid_sync'::regnamespace and p.prorettype = 'trigger'::regtype"
    )
    assert (owner, login) == ("txid_sync_capture", False)
    log = log_of(world, "t").log
    session = world.session()
    for statement, allowed in {
        f"insert into txid_sync.{log} (txid, seq, items) values (1, 1, 0)": True,
        "select nextval('txid_sync.log_seq')": True,
        f"select * from txid_sync.{log}": False,
        f"delete from txid_sync.{log}": False,
        "select * from txid_sync.tracked": False,
        "select * from t": False,
        "create table txid_sync.x ()": False,
        "select setval('txid_sync.log_seq', 1)": False,
        "select txid_sync.prune('t', 1, 1)": False,
    }.items():
        execute(session, "set role txid_sync_capture")
        if allowed:
            execute(session, statement)
        else:
            with pytest.raises(pg.InsufficientPrivilege):
                execute(session, statement)
        session.rollback()


def test_nobody_else_can_hang_our_function_on_a_table(world: World) -> None:
    """EXECUTE is not public, with USAGE on the schema or without."""
    ((function,),) = world.rows(
        "select oid::regprocedure::text from pg_proc where proname ~ '^capture_[0-9]+$'"
    )
    owner = connect(world, "owner")
    execute(owner, "create table theirs.x (id int primary key)")
    attach = f"create trigger x after truncate on theirs.x execute function {function}"
    with pytest.raises(pg.InsufficientPrivilege):
        execute(owner, attach)
    schema.grant_reader(world.admin, role(world, "owner"))
    with pytest.raises(pg.InsufficientPrivilege, match="function"):
        execute(owner, attach)
    assert world.rows(
        "select count(*) from pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a"
        " where pronamespace = 'txid_sync'::regnamespace and a.grantee = 0"
    ) == [(0,)]


SHADOWS = """
create schema evil;
grant usage on schema evil to public;
create function evil.run() returns int language plpgsql security invoker as
  'begin insert into public.stolen values (current_user); return 1; end';
create function evil.nextval(text) returns bigint language sql as 'select evil.run()::bigint';
create function evil.nextval(regclass) returns bigint language sql as 'select evil.run()::bigint';
create function evil.txid_current() returns bigint language sql as 'select evil.run()::bigint';
create function evil.equal(text, text) returns bool language sql as 'select evil.run() > 0';
create operator evil.= (leftarg = text, rightarg = text, function = evil.equal);
create function evil.least(bigint, int) returns bool language sql as 'select evil.run() > 0';
create operator evil.>= (leftarg = bigint, rightarg = int, function = evil.least);
create function evil.differ(record, record) returns bool language plpgsql as
  'begin return evil.run() < 0; end';
create operator evil.*<> (leftarg = record, rightarg = record, function = evil.differ);
create function evil.agg(int[], int) returns int[] language sql as 'select array[evil.run()]';
create aggregate evil.array_agg(int) (sfunc = evil.agg, stype = int[]);
create function evil.more(int, int) returns bool language sql as 'select evil.run() > 0';
create operator evil.> (leftarg = int, rightarg = int, function = evil.more);
create function evil.less(int, int) returns bool language sql as 'select evil.run() > 0';
create operator evil.<= (leftarg = int, rightarg = int, function = evil.less);
create function evil.minus(bigint, int) returns bigint language sql as 'select evil.run()::bigint';
create operator evil.- (leftarg = bigint, rightarg = int, function = evil.minus);
create operator evil./ (leftarg = bigint, rightarg = int, function = evil.minus);
create function evil.cardinality(anyarray) returns int language sql as 'select evil.run()';
create function evil.cardinality(int[]) returns int language sql as 'select evil.run()';
create aggregate evil.array_agg(int[]) (sfunc = array_cat, stype = int[]);
create function evil.step(bigint) returns bigint language sql as 'select evil.run()::bigint';
create aggregate evil.count(*) (sfunc = evil.step, stype = bigint, initcond = '0');
create function evil.row_number() returns bigint language sql as 'select 1::bigint';
create type evil.regclass as (x int);
create type evil.int4 as (x int);
create type pg_temp.int8 as (x int);
create temp table txid_sync_changed (id int);
create temp table txid_sync_before (id int);
create function evil.record_image_eq(record, record) returns bool language plpgsql as
  'begin return evil.run() > 0; end';
create function evil.joined(int[], int[]) returns int[] language sql as
  'select array[evil.run()]';
create operator evil.|| (leftarg = int[], rightarg = int[], function = evil.joined);
create temp table pg_class (oid oid, relname name);
create temp table log_1 (txid bigint, seq bigint, items int, k1 int[]);
create temp sequence log_seq;
set search_path = evil, pg_temp, pg_catalog, public;
"""


@pytest.mark.parametrize("capture", ["statement", "row"])
def test_names_that_shadow_ours_are_never_run(world: World, capture: str) -> None:
    """Functions, operators and temporary tables of a writer's own are not seen by the definer."""
    world.run("create table public.stolen (who name); grant insert on public.stolen to public")
    world.run(f"grant create on database {world.database.name} to {role(world, 'writer')}")
    world.track("t", capture)
    writer = connect(world, "writer")
    for statement in SHADOWS.split(";\n"):
        if statement.strip():
            execute(writer, statement)
    with watch(world, "t") as seen:
        execute(writer, "insert into public.t select g from pg_catalog.generate_series(1, 1200) g")
        execute(writer, "update public.t set id = id where id < 4")
        execute(writer, "update public.t set id = -id where v is null")
        execute(writer, "delete from public.t where v is null")
    assert seen.keys == keys(*range(1, 1201), *range(-1200, 0))
    with watch(world, "t") as seen:
        execute(writer, "insert into public.t values (1)")
        execute(writer, "truncate public.t")
    assert (seen.keys, seen.truncations) == (keys(1), 1)
    assert world.rows("select * from public.stolen") == []


def test_a_type_owners_cast_is_not_run(world: World) -> None:
    """Keys are stored in arrays of their own type, so that no cast of its owner runs."""
    world.run("create table public.stolen (who name); grant insert on public.stolen to public")
    owner = connect(world, "owner")
    execute(owner, "create type theirs.e as enum ('a', 'b')")
    execute(
        owner,
        "create function theirs.f(theirs.e) returns text language plpgsql as"
        " 'begin insert into public.stolen values (current_user); return 1; end'",
    )
    execute(owner, "create cast (theirs.e as text) with function theirs.f(theirs.e) as implicit")
    execute(owner, "create table theirs.x (k theirs.e primary key)")
    world.track("theirs.x")
    execute(owner, "insert into theirs.x values ('a')")
    execute(owner, "update theirs.x set k = 'b'")
    log = log_of(world, "theirs.x").log
    assert world.rows(f"select sum(items) from txid_sync.{log}") == [(3,)]
    assert world.rows("select * from public.stolen") == []


def test_an_owner_tracks_its_own_tables_only(world: World) -> None:
    """A role that was allowed to may track what it owns: no superuser, no right to read logs."""
    owner = connect(world, "owner")
    execute(owner, "create table theirs.x (id int primary key)")
    with pytest.raises(PreconditionError):
        schema.track(owner, "theirs.x")
    world.run("select txid_sync.grant_tracker(%s)", role(world, "owner"))
    schema.track(owner, "theirs.x")
    schema.track(owner, "theirs.x", "row")
    with watch(world, "theirs.x") as seen:
        execute(owner, "insert into theirs.x values (1)")
    assert seen.keys == keys(1)
    with pytest.raises(PreconditionError, match="owner of table"):
        schema.track(owner, "public.t")
    with pytest.raises(PreconditionError, match="owner of table"):
        schema.untrack(owner, "public.t")
    with pytest.raises(pg.InsufficientPrivilege, match="owner of table"):
        execute(owner, "select txid_sync.prepare('public.t', 'row', null)")
    with pytest.raises(pg.InsufficientPrivilege):
        execute(owner, "select * from txid_sync.tracked")
    assert schema.untrack(owner, "theirs.x")


def test_an_owner_adds_partitions_without_rights_on_our_schema(world: World) -> None:
    """The table's owner has EXECUTE on the capture function; a new owner by tracking again."""
    owner = connect(world, "owner")
    execute(owner, "create table theirs.p (id int primary key) partition by range (id)")
    world.track("theirs.p")
    execute(owner, "create table theirs.p1 partition of theirs.p for values from (1) to (10)")
    with watch(world, "theirs.p") as seen:
        execute(owner, "insert into theirs.p values (1)")
    assert seen.keys == keys(1)
    world.run(f"alter table theirs.p owner to {role(world, 'writer')}")
    world.run(f"grant all on schema theirs to {role(world, 'writer')}")
    create = "create table theirs.p2 partition of theirs.p for values from (10) to (20)"
    writer = connect(world, "writer")
    with pytest.raises(pg.InsufficientPrivilege):
        execute(writer, create)
    world.track("theirs.p")
    execute(writer, create)


def test_A01_what_a_reader_may_do(world: World) -> None:
    """A reader sees registry and logs, those of later tables too, does upkeep, writes nothing."""
    name = role(world, "reader")
    missing = schema.grant_reader(world.admin, name)
    assert missing == (f"grant select on public.t to {name}",)
    world.run("create table later (id int primary key)")
    world.track("later")
    reader = connect(world, "reader")
    for log in (log_of(world, "t").log, log_of(world, "later").log):
        execute(reader, f"select * from txid_sync.{log}")
        with pytest.raises(pg.InsufficientPrivilege):
            execute(reader, f"delete from txid_sync.{log}")
    execute(reader, "select * from txid_sync.tracked, txid_sync.installed, txid_sync.readers")
    execute(reader, "select txid_sync.upkeep('t', 'r', null)")
    for statement in (
        "select txid_sync.untrack('t')",
        "select txid_sync.prune('t', 1, 1)",
        "update txid_sync.tracked set key = '{x}'",
        "update txid_sync.installed set retention = '0 s'",
        "update txid_sync.readers set wanted_txid = 10000000",
        "delete from txid_sync.readers",
    ):
        with pytest.raises(pg.InsufficientPrivilege):
            execute(reader, statement)
    execute(world.admin, missing[0])
    execute(world.admin, f"grant select on later to {name}")
    assert schema.grant_reader(world.admin, name) == ()


def test_W05_without_the_right_to_make_roles_the_installer_owns_the_functions(
    world: World,
) -> None:
    """A plain owner of the database installs, tracks, captures and uninstalls."""
    schema.uninstall(world.admin)
    world.run(f"grant create on database {world.database.name} to {role(world, 'owner')}")
    owner = connect(world, "owner")
    schema.install(owner)
    schema.install(owner)
    execute(owner, "create table theirs.x (id int primary key)")
    schema.track(owner, "theirs.x")
    execute(owner, "insert into theirs.x values (1)")
    assert world.rows(
        "select proowner::regrole::text from pg_proc where proname ~ '^capture_[0-9]+$'"
    ) == [(role(world, "owner"),)]
    with pytest.raises(PreconditionError, match="belongs to the role"):
        schema.install(world.admin)
    schema.uninstall(owner)
    assert schema.installed_version(owner) is None
    schema.install(world.admin)
    world.track("t")


def test_a_role_with_createrole_gets_the_capture_role(world: World) -> None:
    """No superuser is needed for the least rights: CREATEROLE is enough."""
    schema.uninstall(world.admin)
    others = "select count(*) from pg_shdepend where refobjid = to_regrole('txid_sync_capture')"
    assert world.rows(others) == [(0,)], "another database uses the role"
    world.run(f"grant create on database {world.database.name} to {role(world, 'owner')}")
    world.run(f"alter role {role(world, 'owner')} createrole")
    owner = connect(world, "owner")
    schema.install(owner)
    execute(owner, "create table theirs.x (id int primary key)")
    schema.track(owner, "theirs.x")
    with watch(world, "theirs.x") as seen:
        execute(owner, "insert into theirs.x values (1)")
    assert seen.keys == keys(1)
    assert world.rows(
        "select proowner::regrole::text from pg_proc where proname ~ '^capture_[0-9]+$'"
    ) == [("txid_sync_capture",)]
    schema.uninstall(owner)
    assert world.rows("select to_regrole('txid_sync_capture')") == [(None,)]
    schema.install(world.admin)
    world.track("t")
