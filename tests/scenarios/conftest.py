"""Fixtures of the scenarios: a stage on the session's servers, or on a server of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.scenarios.stage import Stage
from tests.support import Database
from txid_sync.dev import ElasticsearchServer, PostgresServer


@pytest.fixture
def stage(
    database: Database, elasticsearch_server: ElasticsearchServer, index_prefix: str
) -> Iterator[Stage]:
    """An empty stage on the session's servers."""
    made = Stage(database, elasticsearch_server, index_prefix)
    yield made
    made.close()


def drop(server: PostgresServer) -> None:
    """Drop the scenario's database, unless the scenario ended while the server was down."""
    if server.running():
        server.dropdb("scenario")


@pytest.fixture
def stage_on(
    elasticsearch_server: ElasticsearchServer, index_prefix: str
) -> Iterator[Callable[[PostgresServer], Stage]]:
    """Makes an empty stage on a PostgreSQL server of the scenario's own."""
    with ExitStack() as closing:

        def on(server: PostgresServer) -> Stage:
            database = Database("scenario", server.createdb("scenario"))
            closing.callback(drop, server)
            closing.callback(database.close)
            made = Stage(database, elasticsearch_server, index_prefix)
            closing.callback(made.close)
            return made

        yield on


@pytest.fixture
def slot_stage(
    logical_server: PostgresServer, stage_on: Callable[[PostgresServer], Stage]
) -> Iterator[Stage]:
    """A stage on the server with logical decoding; its slots are dropped afterwards."""
    made = stage_on(logical_server)
    yield made
    made.run("select pg_drop_replication_slot(slot_name) from pg_replication_slots")


@pytest.fixture(scope="session")
def logical_server() -> Iterator[PostgresServer]:
    """A PostgreSQL with logical decoding, for the tools that need it."""
    with PostgresServer(settings={"wal_level": "logical"}) as server:
        yield server
