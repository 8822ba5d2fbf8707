"""Roles of one test's own, and connections as them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from tests.integration.streams import Connection, World


@contextmanager
def roles_of(world: World, *names: str) -> Iterator[list[str]]:
    """These roles, with all they own removed in the end; gives their full names."""
    roles = [role(world, name) for name in names]
    for name in roles:
        world.run(f"create role {name} login")
    try:
        yield roles
    finally:
        for name in roles:
            world.run(f"drop owned by {name} cascade")
            world.run(f"drop role {name}")


def role(world: World, name: str) -> str:
    """The full name of one of the test's roles."""
    return f"{name}_{world.database.name}"


def connect(world: World, name: str) -> Connection:
    """A connection as one of the test's roles, closed with the world."""
    connection = psycopg2.connect(world.database.dsn, user=role(world, name))
    connection.autocommit = True
    world._connections.append(connection)
    return connection
