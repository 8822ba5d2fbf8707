"""Flaws that once were there, one example each, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.streams import World, drain, execute, two_tables
from txid_sync.errors import Discontinuity, PreconditionError, SourceUnavailable
from txid_sync.model import Document, Limits
from txid_sync.sources import postgres_session

T, U = Document("public.t", "t"), Document("public.u", "u")


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """Two tracked tables."""
    with two_tables(database) as world:
        yield world


def test_A23_a_log_pruned_to_the_last_row_is_noticed(world: World) -> None:
    """All unread rows are gone, so that no log has news: not "nothing is new"."""
    source = world.source(T, U)
    cursor, _ = source.begin()
    world.run("insert into public.t values (1, 1)")
    assert world.rows("select txid_sync.prune('public.t', %s, 9)", source.clock() + 100) == [(1,)]
    with pytest.raises(Discontinuity, match="pruned"):
        source.poll(cursor, 1, Limits())


def test_a_pruned_log_is_noticed_beside_one_with_news(world: World) -> None:
    """The other table's rows close the window over what was pruned."""
    source = world.source(T, U)
    cursor, _ = source.begin()
    world.run("insert into public.t values (1, 1)")
    assert world.rows("select txid_sync.prune('public.t', %s, 9)", source.clock() + 100) == [(1,)]
    world.run("insert into public.u values (2, 2)")
    with pytest.raises(Discontinuity, match="pruned"):
        drain(source, cursor)


def test_a_dropped_trigger_is_noticed(world: World) -> None:
    """One of several triggers is gone: its changes are not captured any more."""
    source = world.source(T)
    (name,) = world.rows(
        "select tgname from pg_trigger where tgrelid = 'public.t'::regclass"
        " and tgname like '%%delete'"
    )[0]
    world.run(f"drop trigger {name} on public.t")
    source.close()
    with pytest.raises(PreconditionError):
        source.describe()


def test_a_connection_that_was_not_pinned_is_not_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement on the way to a pinned session fails once, and the connection stays."""
    source = world.source(T)
    source.close()
    run = postgres_session.Session.run
    failed: list[str] = []

    def failing(self: Any, query: Any, parameters: Any = None) -> None:
        if not failed and "statement_timeout" in str(query):
            failed.append("pin")  # as pg_cancel_backend or a full disk would do
            self.row("select pg_cancel_backend(pg_backend_pid()), pg_sleep(1)")
        run(self, query, parameters)

    monkeypatch.setattr(postgres_session.Session, "run", failing)
    with pytest.raises(SourceUnavailable):
        source.connect()
    source.connect()
    assert source._session.row("show row_security") == {"row_security": "off"}
    assert source._session.row("show timezone") == {"TimeZone": "UTC"}


def test_a_rebind_that_waits_too_long_is_tried_again(world: World) -> None:
    """A writer holds the log of another cluster while the first cursor is made."""
    world.run("update txid_sync.tracked set system_identifier = 7")
    source = world.source(T)
    writer = world.session()
    execute(writer, "insert into public.t values (1, 1)")
    with pytest.raises(SourceUnavailable):
        source.begin()
    writer.rollback()
    source.begin()


def test_an_id_with_a_zero_byte_is_looked_up(world: World) -> None:
    """An adopted index may hold any id."""
    world.run("create table public.w (id text primary key)")
    world.track("public.w")
    source = world.source(Document("public.w", "w"))
    assert source.lookup("w", ["a\0b"], 1).documents == 1


def test_a_dropped_key_is_noticed(world: World) -> None:
    """Without its unique index two rows may share one document: the run stops."""
    source = world.source(T)
    world.run("alter table public.t drop constraint t_pkey")
    with pytest.raises(PreconditionError, match="no unique index on its key id"):
        source.describe()
