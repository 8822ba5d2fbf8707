"""What the role that reads may and may not do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.streams import World, drain, world_of
from txid_sync.errors import PreconditionError
from txid_sync.model import Document, Limits

T = Document("public.t", "t")


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """A fresh database with our schema."""
    with world_of(database) as world:
        yield world


def test_A01_a_role_with_select_only_reads(world: World) -> None:
    """The syncer's role needs SELECT on the tables and what grant_reader gives, nothing else."""
    from txid_sync import schema

    world.run("create table public.t (id int primary key)")
    world.track("public.t")
    name = f"reader_{world.database.name}"[:60]
    world.run(f'create role "{name}" login')
    try:
        schema.grant_reader(world.admin, name)
        world.run(f'grant select on public.t to "{name}"')
        source = _source_as(world, name)
        cursor, _ = source.begin()
        world.run("insert into public.t values (1)")
        _, got, pages = drain(source, cursor)
        assert [a.id for a in got] == ["1"] and pages[0].ready()
        source.close()
        world.run(f'revoke select on public.t from "{name}"')
        with pytest.raises(PreconditionError, match="permission denied"):
            drain(_source_as(world, name), cursor)
    finally:
        world.run(f'drop owned by "{name}"')
        world.run(f'drop role "{name}"')


def _source_as(world: World, role: str) -> Any:
    from txid_sync.sources.postgres import PostgresSource

    source = PostgresSource(f"{world.database.dsn} user={role}", [T])
    world._sources.append(source)
    source.connect()
    return source


def test_row_level_security_is_an_error_not_a_deletion(world: World) -> None:
    """A policy that hides rows from the reader stops the source instead of deleting documents."""
    world.run("create table public.t (id int primary key)")
    world.track("public.t")
    name = f"rls_{world.database.name}"[:60]
    world.run(f'create role "{name}" login')
    try:
        from txid_sync import schema

        schema.grant_reader(world.admin, name)
        world.run(f'grant select on public.t to "{name}"')
        world.run("insert into public.t values (1)")
        world.run("alter table public.t enable row level security")
        source = _source_as(world, name)
        with pytest.raises(PreconditionError, match="row-level security"):
            source.load("t", None, 1, Limits())
        source.close()
    finally:
        world.run(f'drop owned by "{name}"')
        world.run(f'drop role "{name}"')
