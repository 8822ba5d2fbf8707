"""Upkeep of the change logs on a real server: what is deleted, by whom, beside whom."""

from __future__ import annotations

import contextlib
import threading

import psycopg2
import pytest
from psycopg2 import errors as pg

from tests.integration.roles import connect, role
from tests.integration.streams import World, drain, execute
from tests.integration.upkeep_place import (
    BATCH,
    T,
    answers,
    insert,
    mark,
    readers,
    txids,
    upkeep,
    world,
)
from tests.support import eventually
from txid_sync import schema
from txid_sync.model import Limits

__all__ = ["world"]
pytestmark = pytest.mark.integration


def test_B18_the_least_wanted_txid_is_the_bound(world: World) -> None:
    """Each batch ends below what any reader wants, also readers of another role, and the mark is
    the greatest txid that went."""
    one, two = connect(world, "one"), connect(world, "two")
    upkeep(one, "a", None)
    upkeep(two, "b", None)
    insert(world, *range(10))
    rows = txids(world)
    assert upkeep(one, "a", rows[8]) == 0
    assert upkeep(two, "b", rows[5], 3) == 3
    assert (txids(world), mark(world)) == (rows[3:], rows[2])
    assert upkeep(two, "b", rows[5], 3) == 2
    assert (txids(world), mark(world)) == (rows[5:], rows[4])
    assert upkeep(two, "b", rows[9]) == 3
    assert upkeep(one, "a", rows[9] + 1) == 1
    assert readers(world) == {"a": rows[9] + 1, "b": rows[9]}
    assert txids(world) == rows[9:]


def test_A01_a_role_moves_its_own_readers_only(world: World) -> None:
    """Under another role's name it makes an entry of its own; nobody else can be forgotten."""
    one, two = connect(world, "one"), connect(world, "two")
    upkeep(one, "a", None)
    insert(world, 1, 2)
    rows = txids(world)
    assert upkeep(two, "a", 2**62) == 0
    assert upkeep(two, None, 2**62) == 0
    with two.cursor() as cursor:
        cursor.execute("select txid_sync.unregister('a')")
        assert cursor.fetchone() == (1,)
    assert upkeep(two, None, None) == 0
    assert txids(world) == rows
    for statement in (
        "delete from txid_sync.readers",
        "update txid_sync.readers set wanted_txid = wanted_txid + 1000",
        "insert into txid_sync.readers values (1, 'x', 'y', 1)",
        "delete from txid_sync.log_1",
        "truncate txid_sync.log_1",
        "select txid_sync.prune('public.t', 1000000, 10)",
        "update txid_sync.marker set nonce = 'x'",
        "select txid_sync.delete_batch(t, 1000000, 10) from txid_sync.tracked t",
        "select txid_sync.let_go(t, 1, '0 s') from txid_sync.tracked t",
        "select txid_sync.let_go_of_last(t, 1, 0) from txid_sync.tracked t",
        "update txid_sync.installed set retention = '0 s'",
    ):
        with pytest.raises(pg.InsufficientPrivilege):
            execute(two, statement)
    with one.cursor() as cursor:
        cursor.execute("select txid_sync.unregister('a')")
        assert cursor.fetchone() == (1,)
    assert upkeep(two, None, None) == 2


SHADOWS = """
create schema evil;
grant usage on schema evil to public;
create table public.stolen (who name); grant insert on public.stolen to public;
create function evil.run() returns int language plpgsql as
  'begin insert into public.stolen values (current_user); return 1; end';
create function evil.txid_current_snapshot() returns txid_snapshot language sql as
  'select evil.run(); select ''9:9:''::txid_snapshot';
create function evil.now() returns timestamptz language sql as
  'select evil.run(); select pg_catalog.now()';
create function evil.format(text, text) returns text language sql as
  'select evil.run(); select pg_catalog.format($1, $2)';
create function evil.less(bigint, bigint) returns boolean language sql as
  'select evil.run() is null';
create operator evil.< (leftarg = bigint, rightarg = bigint, function = evil.less);
grant execute on all functions in schema evil to public
"""


def test_the_definer_runs_no_foreign_code(world: World) -> None:
    """Neither the caller's search path nor its temporary tables change what upkeep means."""
    world.run(SHADOWS)
    one = connect(world, "one")
    upkeep(one, "a", None)
    insert(world, 1, 2, 3)
    rows = txids(world)
    execute(one, "set search_path = evil, public, pg_catalog")
    execute(one, "create temporary table readers (tracked int, reader text, wanted_txid bigint)")
    execute(one, "create temporary table tracked (id int, relation regclass, log name)")
    assert upkeep(one, "a", rows[1]) == 1
    assert txids(world) == rows[1:]
    assert world.rows("select * from public.stolen") == []


def test_nothing_passes_a_transaction_in_progress(world: World) -> None:
    """Open for long, or prepared: its rows and the later ones stay, for a cursor that begins now
    wants them; afterwards they go, those below the mark too."""
    one = connect(world, "one")
    upkeep(one, "a", None)
    insert(world, 1)
    held = world.session()
    execute(held, "insert into public.t values (2, 'late')")
    insert(world, 3)
    below, _ = txids(world)
    assert upkeep(one, None, None) == 0, "the reader wants them"
    assert upkeep(one, "a", 2**62) == 1
    assert mark(world) == below
    assert len(txids(world)) == 1
    source = world.source(T)
    cursor, _ = source.begin()
    held.commit()
    cursor, got, _ = drain(source, cursor)
    assert [action.id for action in got] == ["2"], "the other was there before"
    # A late commit lies below the mark that others have moved.
    upkeep(one, "a", 2**62)
    assert txids(world) == []
    world.run("insert into txid_sync.log_1 (txid, seq, items) values (%s, 0, 0)", below)
    assert upkeep(one, "a", 2**62) == 1
    assert mark(world) > below


def test_prepared_transactions_are_in_progress(world: World) -> None:
    """The same for one that is only prepared."""
    held = world.session()
    execute(held, "insert into public.t values (1, 'prepared')")
    execute(held, "prepare transaction 'upkeep'")
    held.commit()
    insert(world, 2)
    assert upkeep(world.admin, None, None) == 0
    world.run("commit prepared 'upkeep'")
    assert upkeep(world.admin, None, None) == 2


def test_a_reader_that_begins_anew_keeps_its_entry(world: World) -> None:
    """Another process may still go by the stored cursor: the entry moves with the next one."""
    one = connect(world, "one")
    upkeep(one, "a", None)
    ((first,),) = world.rows("select wanted_txid from txid_sync.readers")
    insert(world, 1, 2)
    for seen in ("null", "now()"):
        world.run(f"update txid_sync.readers set behind_since = {seen}")
        assert upkeep(one, "a", None) == 0
        assert readers(world) == {"a": first}


def test_with_nothing_to_do_it_takes_no_txid(world: World) -> None:
    """An idle cluster stays idle: the same call again assigns nothing."""
    one = connect(world, "one")
    insert(world, 1)
    upkeep(one, "a", 2**62)
    (wanted,) = readers(world).values()
    one.autocommit = False
    for reader, txid in (("a", wanted), ("a", None), (None, None)):
        assert upkeep(one, reader, txid) == 0
        assert answers(one, "select txid_current_if_assigned()") == [(None,)]
        one.commit()
    one.autocommit = True


def test_two_at_once_do_not_wait_and_one_that_dies_leaves_all(world: World) -> None:
    """The second returns at once; writers and pages go on; rows of the first come back when it is
    rolled back, with the mark where it was."""
    one, two = connect(world, "one"), connect(world, "two")
    source = world.source(T)
    cursor, _ = source.begin()
    upkeep(one, "a", None)
    insert(world, 1, 2, 3)
    rows, before = txids(world), mark(world)
    assert upkeep(one, "a", rows[2], 0) == 0
    one.autocommit = False
    assert upkeep(one, "a", rows[2], 2) == 2
    execute(two, "set statement_timeout = '5s'")
    assert upkeep(two, "b", rows[2]) == 0
    assert upkeep(two, None, None) == 0
    insert(world, 4)
    cursor, got, _ = drain(source, cursor)
    assert [action.id for action in got] == ["1", "2", "3", "4"]
    one.rollback()
    one.autocommit = True
    assert (txids(world)[:3], mark(world)) == (rows, before)
    assert upkeep(two, None, None) == 2
    assert mark(world) == rows[1]


def test_a_reader_that_begins_beside_pruning_is_never_overtaken(world: World) -> None:
    """Again and again a reader is noted, begins and reads, while another prunes without rest."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def prune() -> None:
        connection = psycopg2.connect(world.database.dsn, user=role(world, "one"))
        connection.autocommit = True
        try:
            while not stop.is_set():
                with contextlib.suppress(pg.LockNotAvailable):  # half a second, both note "other"
                    upkeep(connection, "other", 2**62)
        except BaseException as error:  # noqa: BLE001  told by the test
            failures.append(error)
        finally:
            connection.close()

    def write() -> None:
        connection = psycopg2.connect(world.database.dsn)
        connection.autocommit = True
        try:
            while not stop.is_set():
                execute(connection, "update public.t set v = v || 'x' where id % 2 = 0")
                execute(connection, "update public.t set v = '' where length(v) > 5")
        finally:
            connection.close()

    insert(world, *range(6))
    before = txids(world)[-1]
    threads = [threading.Thread(target=work) for work in (prune, prune, write)]
    for thread in threads:
        thread.start()
    try:
        source = world.source(T)
        for number in range(60):
            source.prune("t", f"r{number}", None, BATCH)
            cursor, _ = source.begin()
            eventually(lambda at=cursor: source.poll(at, 1, Limits()).page)  # type: ignore[misc]
            for _ in range(3):
                reading = source.poll(cursor, 1, Limits())
                cursor = cursor if reading.page is None else reading.page.next
                source.prune("t", f"r{number}", cursor.done.lowest_open, BATCH)
            schema.unregister(world.admin, f"r{number}")
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=60)
    assert failures == []
    assert mark(world) > before + 60, "the others have pruned"
