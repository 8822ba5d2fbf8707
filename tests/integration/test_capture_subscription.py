"""Tables that a logical-replication subscription writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.capture import keys, watch
from tests.integration.streams import world_of
from tests.support import Database, eventually
from txid_sync import schema
from txid_sync.dev.postgres import PostgresServer

pytestmark = pytest.mark.integration


@pytest.fixture
def server(pytestconfig: pytest.Config) -> Iterator[PostgresServer]:
    """A server of its own that decodes its WAL."""
    version = pytestconfig.option.postgres
    with PostgresServer(version, settings={"wal_level": "logical"}) as server:
        yield server


def database(server: PostgresServer, name: str) -> Database:
    """A new database."""
    return Database(name, server.createdb(name))


def test_row_capture_sees_what_a_subscription_writes(server: PostgresServer) -> None:
    """Copied and replicated rows, key changes and TRUNCATE are logged."""
    table = "create table t (id int primary key, v text)"
    origin, copy = database(server, "origin"), database(server, "copy")
    with world_of(origin) as source, world_of(copy) as world:
        for each in (source, world):
            each.run(table)
        source.run("insert into t values (1), (2)")
        source.run("create publication p for table t")
        source.run("select pg_create_logical_replication_slot('s', 'pgoutput')")
        schema.track(world.admin, "t", "row")
        with watch(world, "t") as seen:
            world.run(
                f"create subscription s connection '{origin.dsn}' publication p"
                " with (create_slot = false)"
            )
            eventually(lambda: world.rows("select count(*) from t") == [(2,)], 30)
            ready = "select srsubstate from pg_subscription_rel"
            eventually(lambda: world.rows(ready) == [("r",)], 30)
            source.run("update t set v = 'x' where id = 1")
            source.run("update t set id = 3 where id = 2")
            source.run("insert into t values (4)")
            source.run("delete from t where id = 1")
            rows = "select array_agg(id order by id) from t"
            eventually(lambda: world.rows(rows) == [([3, 4],)], 30)
        assert seen.keys == keys(1, 2, 3, 4)
        with watch(world, "t") as seen:
            source.run("truncate t")
            eventually(lambda: world.rows("select count(*) from t") == [(0,)], 30)
        assert seen.truncations == 1
        world.run("alter subscription s disable; alter subscription s set (slot_name = none)")
        world.run("drop subscription s")
    for each_database in (origin, copy):
        each_database.close()
