"""A tracked table with two roles that may read it, and calls of upkeep as they make them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.roles import roles_of
from tests.integration.streams import Connection, World, world_of
from txid_sync import schema
from txid_sync.model import Document

T = Document("public.t", "t")
BATCH = 1000
# The schema as its first version left it.
OLDER = """
drop function txid_sync.upkeep, txid_sync.unregister, txid_sync.let_go, txid_sync.let_go_of_last,
  txid_sync.live_bytes, txid_sync.caller, txid_sync.delete_batch, txid_sync.mark;
drop table txid_sync.readers, txid_sync.marker;
alter table txid_sync.installed drop column retention, drop column max_log_bytes;
update txid_sync.installed set version = 1
"""


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """A tracked table, and two roles of this database's own that may read."""
    with world_of(database) as world, roles_of(world, "one", "two") as roles:
        world.run("create table public.t (id bigint primary key, v text)")
        world.track("public.t")
        for name in roles:
            schema.grant_reader(world.admin, name)
            world.run(f"grant select on public.t to {name}")
        yield world


def insert(world: World, *ids: int) -> None:
    """A transaction for each id."""
    for id in ids:
        world.run("insert into public.t values (%s, 'x')", id)


def txids(world: World) -> list[int]:
    """The txids of the log, in order."""
    return [txid for (txid,) in world.rows("select txid from txid_sync.log_1 order by txid, seq")]


def readers(world: World) -> dict[str, int]:
    """From which txid on each reader wants rows."""
    return dict(world.rows("select reader, wanted_txid from txid_sync.readers"))


def upkeep(connection: Connection, reader: str | None, wanted: int | None, batch: int = 100) -> int:
    """Call it as this role does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select txid_sync.upkeep('public.t', %s, %s, %s)", (reader, wanted, batch)
        )
        return int(cursor.fetchone()[0])  # type: ignore[index]


def mark(world: World) -> int:
    """The greatest txid that was pruned."""
    return int(world.rows("select pruned_txid from txid_sync.tracked")[0][0])


def answers(connection: Connection, statement: str) -> list[Any]:
    """The rows of a query of this role."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())
