"""Installing, tracking, pruning and removing, and the demo tables."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.capture import keys, watch
from tests.integration.streams import World, execute, world_of
from tests.support import eventually
from txid_sync import schema
from txid_sync.errors import PreconditionError, UsageError
from txid_sync.model import Document
from txid_sync.sources.postgres import PostgresSource

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]

# How the older version made them.
OLDER = """
create trigger txid_sync_1_update after update on t referencing new table as txid_sync_changed
  for each statement execute function txid_sync.capture_1();
create trigger txid_sync_1_key after update on t for each row when (old.id is distinct from new.id)
  execute function txid_sync.capture_1('old');
alter table t enable always trigger txid_sync_1_update;
alter table t enable always trigger txid_sync_1_key
"""

# Everything in the catalog that has a name, and every right and comment.
CATALOG = """
select 'class', c.relnamespace::regnamespace || '.' || relname from pg_class c
 where relnamespace::regnamespace::text !~ '^pg_(toast|temp)'
union all select 'proc', oid::regprocedure::text from pg_proc
union all select 'type', oid::regtype::text from pg_type
 where typnamespace::regnamespace::text !~ '^pg_(toast|temp)'
union all select 'trigger', tgrelid::regclass || '.' || tgname from pg_trigger
union all select 'schema', nspname || coalesce(nspacl::text, '') from pg_namespace
 where nspname !~ '^pg_(toast|temp)'
union all select 'role', rolname from pg_roles
union all select 'comment', description from pg_shdescription
union all select 'default right', defaclacl::text from pg_default_acl
union all select 'member', roleid::regrole || ' ' || member::regrole from pg_auth_members
order by 1, 2
"""


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """A fresh database with our schema and a table."""
    with world_of(database) as world:
        world.run("create table t (id int primary key, v text)")
        yield world


def triggers(world: World) -> list[tuple[Any, ...]]:
    """Our triggers, with the version of each catalog row."""
    return world.rows(
        "select tgname, tgenabled, xmin::text from pg_trigger where tgname like 'txid%' order by 1"
    )


def test_uninstall_leaves_no_trace(world: World) -> None:
    """After it the catalog is what it was before the installation; it may be repeated."""
    schema.uninstall(world.admin)
    before = world.rows(CATALOG)
    assert "txid_sync" not in str(before)
    schema.install(world.admin)
    world.run("create table p (id int primary key) partition by list (id)")
    world.run("create table p1 partition of p for values in (1)")
    for table in ("t", "p"):
        world.track(table)
    world.run("insert into t values (1)")
    world.run("create table gone (id int primary key)")
    world.track("gone")
    world.run("drop table gone")
    schema.uninstall(world.admin)
    schema.uninstall(world.admin)
    assert schema.installed_version(world.admin) is None
    world.run("drop table p")
    assert world.rows(CATALOG) == before
    world.run("insert into t values (2)")


def test_installing_again_changes_nothing(world: World) -> None:
    """The second installation leaves objects, rights and logs as they are."""
    world.track("t")
    world.run("insert into t values (1)")
    seen = world.rows(CATALOG), triggers(world), world.rows("table txid_sync.tracked")
    schema.install(world.admin)
    assert seen == (world.rows(CATALOG), triggers(world), world.rows("table txid_sync.tracked"))
    assert schema.installed_version(world.admin) == schema.VERSION


def test_an_older_program_does_not_install_over_a_newer_schema(world: World) -> None:
    """It says so, and changes nothing."""
    newer = schema.VERSION + 1
    world.run("update txid_sync.installed set version = %s", newer)
    said = f"has version {newer}, this program knows version {schema.VERSION}"
    with pytest.raises(PreconditionError, match=said):
        schema.install(world.admin)
    assert schema.installed_version(world.admin) == newer


def test_upgrading_rewrites_the_capture_functions(world: World) -> None:
    """Functions of tables that are tracked already follow the program's version."""
    world.track("t")
    world.run(
        "create or replace function txid_sync.capture_1() returns trigger language plpgsql"
        " as 'begin return null; end'"
    )
    schema.install(world.admin)
    with watch(world, "t") as seen:
        world.run("insert into t values (1)")
    assert seen.keys == keys(1)


def test_keys_are_not_compressed(world: World) -> None:
    """Compression takes longer than the rest of the capture: none, also in a log made before."""
    world.track("t")
    storage = (
        "select attstorage::text from pg_attribute where attname = 'k1' and attrelid = %s::regclass"
    )
    assert world.rows(storage, "txid_sync.log_1") == [("e",)]
    world.run("alter table txid_sync.log_1 alter k1 set storage extended")
    schema.install(world.admin)
    assert world.rows(storage, "txid_sync.log_1") == [("e",)]


def test_psql_and_the_driver_run_the_same_files(world: World) -> None:
    """The SQL files hold no psql commands and no driver's placeholders."""
    schema.uninstall(world.admin)
    psql = shutil.which("psql")
    assert psql, "psql is needed: apt-get install postgresql-client"
    files = [part for name in schema.INSTALL_FILES for part in ("-f", schema.sql_path(name))]
    for arguments in (files, files, ["-f", schema.sql_path("uninstall.sql")]):
        done = subprocess.run(
            [psql, "-qX1", "-v", "ON_ERROR_STOP=1", "-d", world.database.dsn, *arguments],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert schema.installed_version(world.admin) is None


def test_tracking_again_changes_nothing_and_locks_nothing(world: World) -> None:
    """It returns at once although a writer holds the table."""
    log = schema.track(world.admin, "t")
    before = triggers(world)
    writer = world.session()
    execute(writer, "insert into t values (1)")
    assert schema.track(world.admin, "t", retry_for_seconds=0) == log
    assert triggers(world) == before
    assert schema.track(world.admin, "t", "statement", ["id"], retry_for_seconds=0) == log


def test_tracking_again_repairs(world: World) -> None:
    """Triggers that were dropped, disabled or lost their ALWAYS come back; the log stays."""
    log = schema.track(world.admin, "t")
    world.run("drop trigger txid_sync_1_update on t")
    world.run("alter table t disable trigger txid_sync_1_insert")
    world.run("alter table t enable trigger txid_sync_1_delete")
    assert schema.track(world.admin, "t") == log
    assert {(name, state) for name, state, _ in triggers(world)} == {
        (f"txid_sync_1_{what}", "A") for what in ("insert", "update", "delete", "key", "truncate")
    }


def test_a_table_tracked_by_an_older_version_keeps_its_triggers(world: World) -> None:
    """Statements had two triggers for updates: both capture, are checked and repaired as before,
    until the table is tracked from the start."""
    schema.track(world.admin, "t")
    world.run("drop trigger txid_sync_1_update on t; drop trigger txid_sync_1_key on t")
    world.run(OLDER)
    before = triggers(world)
    schema.track(world.admin, "t")
    assert triggers(world) == before
    assert len(before) == 5
    world.run("insert into t select g from generate_series(1, 3) g")
    with watch(world, "t") as seen:
        world.run("update t set id = 10, v = 'b' where id = 1")
        world.run("update t set v = 'b' where id = 2")
    assert (seen.keys, seen.log_rows) == (keys(1, 10, 2), 3)
    check_source(world)
    world.run("drop trigger txid_sync_1_key on t")
    with pytest.raises(PreconditionError, match="of its triggers 1 are missing"):
        check_source(world)
    schema.track(world.admin, "t")
    check_source(world)
    assert [row[0] for row in triggers(world)] == [row[0] for row in before]
    with watch(world, "t") as seen:
        world.run("update t set id = 30 where id = 3")
    assert seen.keys == keys(3, 30)
    world.run("drop trigger txid_sync_1_update on t")
    with pytest.raises(PreconditionError, match="of its triggers 1 are missing"):
        check_source(world)
    schema.track(world.admin, "t")
    check_source(world)
    assert [row[0] for row in triggers(world)] == [
        f"txid_sync_1_{what}" for what in ("delete", "insert", "key", "truncate", "update")
    ]
    with watch(world, "t") as seen:
        world.run("update t set id = 20 where id = 2")
    assert seen.keys == keys(2, 20)


def check_source(world: World) -> None:
    """Whether a reader of this table would begin."""
    with closing(PostgresSource(world.database.dsn, [Document("public.t", "t")])) as source:
        source.connect()


def test_another_capture_is_a_new_log(world: World) -> None:
    """Nothing of the old way is left; without a wish the way stays as it is."""
    first = schema.track(world.admin, "t")
    second = schema.track(world.admin, "t", "row")
    assert first != second
    assert schema.track(world.admin, "t") == second
    assert [name for name, _, _ in triggers(world)] == [
        f"txid_sync_2_{what}" for what in ("key", "row", "truncate")
    ]
    assert world.rows("select to_regclass(%s)", f"txid_sync.{first}") == [(None,)]


def test_track_gives_way_to_writers_and_tries_again(world: World) -> None:
    """While a long transaction holds the table, other writers wait less than a second each."""
    holder = world.session()
    execute(holder, "insert into t values (1)")
    done: list[str] = []
    tracker = threading.Thread(target=lambda: done.append(schema.track(world.admin, "t")))
    tracker.start()
    slowest = 0.0
    writer = world.database.connect()
    waiting = "select count(*) > 0 from pg_locks where relation = 't'::regclass and not granted"
    with writer.cursor() as cursor:
        for number in range(3):
            eventually(lambda: bool(_one(cursor, waiting)))
            started = time.monotonic()
            cursor.execute("insert into t values (%s)", (10 + number,))
            slowest = max(slowest, time.monotonic() - started)
    assert not done
    assert slowest < 1.5
    holder.commit()
    tracker.join(timeout=30)
    assert len(done) == 1


def _one(cursor: Any, query: str) -> Any:
    cursor.execute(query)
    return cursor.fetchone()[0]


def test_track_gives_up_with_a_message(world: World) -> None:
    """When the table stays locked, the error says for how long it was tried."""
    holder = world.session()
    execute(holder, "lock table t")
    with pytest.raises(PreconditionError, match="kept it locked") as refused:
        schema.track(world.admin, "t", retry_for_seconds=0.1)
    assert refused.value.hint
    holder.rollback()
    execute(holder, "select 1")
    with pytest.raises(UsageError, match="inside a transaction"):
        schema.track(holder, "t")


def test_a_dropped_table_hurts_nobody(world: World) -> None:
    """Others go on; tracking anything removes what it left, and untrack takes its number."""
    for name in ("gone", "gone_too"):
        world.run(f"create table {name} (id int primary key)")
        world.track(name)
    world.track("t")
    ((gone,),) = world.rows("select 'gone'::regclass::oid::text")
    world.run("drop table gone, gone_too")
    assert world.rows("select relation::text from txid_sync.tracked where relation = %s::oid", gone)
    assert schema.untrack(world.admin, gone)
    assert not schema.untrack(world.admin, gone)
    assert world.rows("select count(*) from txid_sync.tracked") == [(2,)]
    world.track("t")
    assert world.rows("select relation::text from txid_sync.tracked") == [("t",)]
    assert world.rows("select to_regclass('txid_sync.log_1'), to_regclass('txid_sync.log_2')") == [
        (None, None)
    ]
    with watch(world, "t") as seen:
        world.run("insert into t values (1)")
    assert seen.keys == keys(1)


def test_prune_deletes_in_batches_and_marks_what_went(world: World) -> None:
    """The mark is the greatest txid really deleted; rows at the bound and above stay."""
    world.track("t")
    for number in range(10):
        world.run("insert into t values (%s)", number)
    txids = [row[0] for row in world.rows("select txid from txid_sync.log_1 order by seq")]
    prune = "select txid_sync.prune('t', %s, %s)"
    mark = "select pruned_txid from txid_sync.tracked"
    assert world.rows(prune, txids[0], 100) == [(0,)]
    assert world.rows(mark) == [(0,)]
    assert world.rows(prune, txids[5], 3) == [(3,)]
    assert world.rows(mark) == [(txids[2],)]
    assert world.rows(prune, txids[5], 100) == [(2,)]
    assert world.rows(mark) == [(txids[4],)]
    assert world.rows("select min(txid), count(*) from txid_sync.log_1") == [(txids[5], 5)]
    session = world.session()
    execute(session, prune, txids[5], 100)
    with session.cursor() as cursor:
        cursor.execute("select txid_current_if_assigned()")
        assert cursor.fetchall() == [(None,)], "with nothing to do it takes no txid"
    session.rollback()
    # What was committed late lies below the mark.
    world.run("insert into txid_sync.log_1 (txid, seq, items) values (%s, 0, 0)", txids[0])
    assert world.rows(prune, txids[5], 100) == [(1,)]
    assert world.rows(mark) == [(txids[4],)]


def test_a_log_of_another_cluster_is_emptied(world: World) -> None:
    """Tracking a restored table again binds its log and its mark to this cluster."""
    world.track("t")
    world.run("insert into t values (1)")
    world.run("update txid_sync.tracked set system_identifier = 1, pruned_txid = 99")
    with pytest.raises(Exception, match="another cluster"):
        world.run("select txid_sync.prune('t', 1000, 10)")
    world.track("t")
    assert world.rows("select count(*) from txid_sync.log_1") == [(0,)]
    assert world.rows(
        "select pruned_txid, t.system_identifier = c.system_identifier"
        " from txid_sync.tracked t, pg_control_system() c"
    ) == [(0, True)]


def apply_demo(world: World) -> None:
    """Run apply-schema.sql as a user would."""
    done = subprocess.run(
        ["psql", "-X", "-d", world.database.dsn, "-f", str(ROOT / "apply-schema.sql")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_the_demo_schema_may_be_applied_again(world: World) -> None:
    """Rows, tables and tracking stay as they are."""
    schema.uninstall(world.admin)
    apply_demo(world)
    world.run("insert into items (name) values ('a')")
    before = triggers(world), world.rows("select * from items")
    apply_demo(world)
    assert before == (triggers(world), world.rows("select * from items"))
    tracked = world.rows("select relation::text from txid_sync.tracked order by id")
    assert [name for (name,) in tracked] == [
        "items", "codes", "stock", "notes", "measurements", "orders", "order_lines"
    ]  # fmt: skip


def test_A14_version_counts_the_transactions_that_wrote_a_row(world: World) -> None:
    """One more per committed transaction, whatever its updates, savepoints, moves and cascades."""
    apply_demo(world)
    for steps, version in (
        (["insert into codes values ('a')"], 1),
        (["update codes set meaning = 'x'"], 2),
        (["update codes set meaning = 'y'", "update codes set version = 77"], 3),
        (["savepoint s", "update codes set meaning = '1'", "rollback to s"], 3),
        (
            ["savepoint s", "update codes set meaning = '1'", "rollback to s",
             "update codes set meaning = '2'", "savepoint r", "update codes set meaning = '3'"],
            4,
        ),
        (
            ["update codes set meaning = '4'", "savepoint s", "update codes set meaning = '5'",
             "rollback to s"],
            5,
        ),
        (["insert into codes values ('a') on conflict (code) do update set meaning = 'u'"], 6),
    ):  # fmt: skip
        session = world.session()
        for step in steps:
            execute(session, step)
        session.commit()
        assert world.rows("select version from codes") == [(version,)], steps
    session = world.session()
    execute(session, "update codes set meaning = 'lost'")
    session.rollback()
    assert world.rows("select version from codes") == [(6,)]
    world.run("insert into measurements values (1, '2019-12-31', 0.5)")
    world.run("update measurements set day = '2025-01-01'")
    assert world.rows("select version, tableoid::regclass::text from measurements") == [
        (2, "measurements_new")
    ]
    world.run("insert into orders (id) values (1)")
    world.run("insert into order_lines (order_id, line) values (1, 1)")
    world.run("update orders set id = 2")
    assert world.rows("select order_id, version from order_lines") == [(2, 2)]
