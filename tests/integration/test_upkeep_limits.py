"""Upkeep of the change logs: how long who is waited for; other clusters, older schemas."""

from __future__ import annotations

import pytest
from psycopg2 import errors as pg

from tests.integration.roles import connect, role
from tests.integration.streams import World, drain, execute, state
from tests.integration.upkeep_place import (
    BATCH,
    OLDER,
    T,
    insert,
    readers,
    txids,
    upkeep,
    world,
)
from tests.support import eventually
from txid_sync import schema
from txid_sync.cursor import Cursor
from txid_sync.errors import Discontinuity
from txid_sync.model import Limits
from txid_sync.sources.postgres import PostgresSource

__all__ = ["world"]
pytestmark = pytest.mark.integration


def test_a_reader_that_stays_behind_is_let_go_after_the_retention(world: World) -> None:
    """A stopped pipeline pins nothing for longer; it finds out, and can begin anew."""
    one = connect(world, "one")
    source = world.source(T)
    source.prune("t", "stopped", None, BATCH)
    stopped, _ = source.begin()
    upkeep(one, "running", None)
    insert(world, 1, 2)
    world.run("update txid_sync.installed set retention = '600 ms'")
    last = txids(world)[-1]

    def gone() -> bool:
        assert "running" in readers(world)
        return upkeep(one, "running", last) > 0

    eventually(gone, 30)
    assert readers(world) == {"running": last}
    with pytest.raises(Discontinuity, match="pruned"):
        source.poll(stopped, 1, Limits())
    source.prune("t", "stopped", None, BATCH)
    cursor, _ = source.begin()
    insert(world, 3)
    assert [action.id for action in drain(source, cursor)[1]] == ["3"]


def test_the_retention_counts_from_when_a_reader_was_seen_behind(world: World) -> None:
    """One that had nothing to read for months is waited for as any other."""
    one = connect(world, "one")
    upkeep(one, "quiet", None)
    upkeep(one, "busy", None)
    world.run("update txid_sync.readers set seen_at = now() - interval '90 days'")
    insert(world, 1)
    for _ in range(3):
        assert upkeep(one, "busy", 2**62) == 0
    assert "quiet" in readers(world)
    behind = "select behind_since > now() - interval '1 minute' from txid_sync.readers"
    assert world.rows(f"{behind} where reader = 'quiet'") == [(True,)]
    assert upkeep(one, "quiet", 2**62) == 1, "it comes back, and holds nothing up"
    assert world.rows("select * from txid_sync.readers where behind_since is not null") == []


def test_a_reader_that_moves_on_slowly_is_kept(world: World) -> None:
    """Behind for longer than the retention, but alive: each call starts the time anew."""
    one = connect(world, "one")
    upkeep(one, "slow", None)
    upkeep(one, "other", None)
    insert(world, *range(30))
    rows = txids(world)
    world.run("update txid_sync.installed set retention = '1 s'")
    world.run("update txid_sync.readers set seen_at = now() - interval '1 h'")
    upkeep(one, "other", 2**62)
    for number in range(5):
        world.run("select pg_sleep(0.4)")
        upkeep(one, "slow", rows[number])
        upkeep(one, "other", 2**62)
        assert "slow" in readers(world)
    assert txids(world) == rows[4:]


def test_a_log_that_is_too_large_waits_for_nobody(world: World) -> None:
    """The reader that is furthest behind is let go first; one that is not behind stays, and room
    in the files that rows have left does not count."""
    one = connect(world, "one")
    for reader in ("far", "near", "done"):
        upkeep(one, reader, None)
    world.run("insert into public.t select g, 'x' from generate_series(1, 30000) g")
    world.run("update public.t set v = 'y'")
    rows = sorted(set(txids(world)))
    upkeep(one, "near", rows[1])
    upkeep(one, "done", 2**62)
    ((size,),) = world.rows("select pg_total_relation_size('txid_sync.log_1')")
    world.run("update txid_sync.installed set max_log_bytes = %s", size + 1)
    assert upkeep(one, None, None) == 0
    ((live,),) = world.rows("select txid_sync.live_bytes(t) from txid_sync.tracked t")
    assert 0.4 * size < live < 2 * size, (live, size)
    world.run("update txid_sync.installed set max_log_bytes = %s", int(live * 0.75))
    assert upkeep(one, None, None) == 30
    assert set(readers(world)) == {"near", "done"}
    for _ in range(3):
        assert upkeep(one, None, None) == 0
    assert set(readers(world)) == {"near", "done"}, "half of it is free now"
    world.run("update txid_sync.installed set max_log_bytes = 1")
    assert upkeep(one, None, None) == 30
    for _ in range(3):
        upkeep(one, None, None)
    assert set(readers(world)) == {"done"}
    assert txids(world) == []


def test_a_log_of_another_cluster_is_left_alone(world: World) -> None:
    """Its txids mean nothing here: no reader is noted, nothing deleted, until it is bound anew."""
    one = connect(world, "one")
    upkeep(one, "a", None)
    insert(world, 1)
    world.run("update txid_sync.tracked set system_identifier = 1, pruned_txid = 99999999")
    assert upkeep(one, "b", 2**62) == 0
    assert set(readers(world)) == {"a"}
    assert len(txids(world)) == 1
    world.track("public.t")
    assert readers(world) == {}
    assert upkeep(one, "b", None) == 0
    assert set(readers(world)) == {"b"}
    world.run("select txid_sync.untrack('public.t')")
    assert readers(world) == {}
    with pytest.raises(pg.UndefinedObject, match="not tracked"):
        upkeep(one, "b", None)


def test_an_older_schema_is_brought_up_to_date(world: World) -> None:
    """Logs and rows stay; roles that could read can do upkeep, and can prune no more by hand."""
    insert(world, 1)
    rows = txids(world)
    world.run(OLDER)
    one = role(world, "one")
    world.run(f"grant execute on function txid_sync.prune(regclass, bigint, integer) to {one}")
    schema.install(world.admin)
    assert schema.installed_version(world.admin) == schema.VERSION
    assert txids(world) == rows
    reader = connect(world, "one")
    with pytest.raises(pg.InsufficientPrivilege):
        execute(reader, "select txid_sync.prune('public.t', 1000000, 10)")
    assert upkeep(reader, "a", 2**62) == 1


def test_a_source_reads_on_beside_a_failed_prune(world: World) -> None:
    """Without the function, or the right, the error says what to do and the connection lives on."""
    source = PostgresSource(f"{world.database.dsn} user={role(world, 'one')}", [T])
    source.connect()
    cursor, _ = source.begin()
    pid = source.identity()
    world.run(f"revoke execute on function txid_sync.upkeep from {role(world, 'one')}")
    for statement in ("select 1", OLDER):
        world.run(statement)
        insert(world, len(txids(world)) + 1)
        generation = source._session.generation
        with pytest.raises(Exception, match="txid-sync init --reader"):
            source.prune("t", "a", cursor.done.lowest_open, BATCH)
        assert source._session.generation == generation
        assert source.identity() == pid
    _, got, _ = drain(source, Cursor.from_json(cursor.to_json()))
    assert sorted(state(got)) == ["1", "2"]
    source.close()
