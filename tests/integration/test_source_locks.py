"""A statement that waits for a lock reads with a snapshot from after the wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.streams import World, actions, world_of
from tests.support import eventually
from txid_sync.cursor import Cursor
from txid_sync.model import Document, Limits, Page, clock_of
from txid_sync.snapshot import Snapshot
from txid_sync.sources.postgres import PostgresSource

T = Document("public.t", "t")
Read = Callable[[PostgresSource, Cursor], Page]
WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """A fresh database with our schema."""
    with world_of(database) as world:
        yield world


def _polled(source: PostgresSource, cursor: Cursor) -> Page:
    reading = source.poll(cursor, 1, Limits())
    assert reading.page is not None
    return reading.page.page


READS: list[tuple[Read, list[str]]] = [
    (_polled, []),
    (lambda source, _: source.lookup("t", ["1", "2", "9"], 1), ["9"]),
    (lambda source, _: source.load("t", None, 1, Limits()).page, ["9"]),
]


@pytest.mark.parametrize(("read", "found"), READS, ids=["poll", "lookup", "load"])
def test_a_page_that_waited_for_a_truncation_is_no_older_than_it(
    world: World, read: Read, found: list[str]
) -> None:
    """Else it would delete, under an old version, what the truncating transaction has written."""
    world.run("create table public.t (id int primary key, v text)")
    world.track("public.t")
    source = world.source(T)
    cursor, _ = source.begin()
    world.run("insert into public.t values (1, 'before'), (2, 'before')")
    for prepare, _ in READS:
        prepare(source, cursor)
    other = world.database.connect()
    other.cursor().execute("begin; truncate public.t; insert into public.t values (9, 'after')")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, source, cursor)
        try:
            eventually(lambda: world.rows(WAITING) == [(1,)], 30)
            other.cursor().execute("commit")
        finally:
            other.close()
        page = reading.result(60)
    truncated = Snapshot.parse(world.rows("select txid_current_snapshot()::text")[0][0])
    assert clock_of(page.version) == truncated.clock
    assert [action.id for action in actions(page) if action.document] == found
