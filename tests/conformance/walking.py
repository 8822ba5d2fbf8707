"""Walking a source by hand: pages are passed, applied as a sink would, and the cursor moves."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.conformance.worlds import World
from txid_sync.cursor import Cursor
from txid_sync.model import Limits, Page
from txid_sync.sinks.bulk import actions_of
from txid_sync.sources.base import Source

Held = dict[str, tuple[int, object]]


def passed(page: Page) -> Page:
    """The page, its gate passed."""
    while not page.ready():
        pass
    return page


def apply(page: Page, held: Held) -> None:
    """Apply a page as a sink would; None is a remembered delete."""
    found = list(actions_of(page.body))
    assert len(found) == page.documents
    for action in found:
        lines = action.data.decode().splitlines()
        head = json.loads(lines[0])[action.operation]
        assert head == {"_id": action.id, "version": page.version, "version_type": "external_gte"}
        row = json.loads(lines[1]) if action.operation == "index" else None
        if page.version >= held.get(action.id, (0, None))[0]:
            held[action.id] = (page.version, row)


def drain(source: Source, cursor: Cursor, held: dict[str, Held], size: int = 2) -> Cursor:
    """Read and acknowledge all that is new; the cursor is stored and read after each page."""
    for _ in range(1000):
        reading = source.poll(cursor, 1, Limits(documents=size))
        if reading.page is None:
            return cursor
        page = passed(reading.page.page)
        assert page.documents <= size
        apply(page, held[page.document])
        if reading.page.truncated:
            live = list(held[page.document])
            apply(passed(source.lookup(page.document, live, 1)), held[page.document])
        cursor = Cursor.from_json(reading.page.next.to_json())
    raise AssertionError("the stream does not end")


def rows(held: Held) -> dict[str, object]:
    """The live documents: their column v."""
    return {name: row["v"] for name, (_, row) in held.items() if isinstance(row, dict)}


def put(world: World, table: str, keys: list[tuple[str, ...]], v: str) -> None:
    """Commit rows."""
    transaction = world.begin()
    transaction.put(table, keys, v)
    transaction.commit()


def used(source: Source, work: Callable[[], None]) -> int:
    """Txids that this takes at least; an autovacuum beside it may take one now and then."""
    found = []
    for _ in range(5):
        before = source.clock()
        work()
        found.append(source.clock() - before)
    return min(found)
