"""What each page of a source says of itself; every source passes these tests."""

from __future__ import annotations

from tests.conformance.walking import put
from tests.conformance.worlds import World
from txid_sync.model import Limits, clock_of, epoch_of


def test_F12_every_page_tells_the_server_that_it_was_read_from(world: World) -> None:
    """Of the stream, listed, loaded, looked up; also one that was made of no row, or of several."""
    source = world.source()
    cursor, _ = source.begin()
    put(world, "two", [("x", "1"), ("y", "2")], "a")
    reading = source.poll(cursor, 1, Limits(documents=1))
    assert reading.page is not None
    skimmed, _ = source.skim(reading.page.next, 1, 10)
    assert skimmed.page is not None
    pages = [
        reading.page.page,
        skimmed.page.page,
        source.load("two", None, 1, Limits(1)).page,
        source.load("two", ("y", "2"), 1, Limits(1)).page,
        *(source.lookup("two", some, 1) for some in ([], ["x,1"], ["none"], ["x,1", "none"])),
    ]
    assert [page.identity for page in pages] == [source.identity()] * len(pages)


def test_a_page_s_version_counts_what_has_ended(world: World) -> None:
    """Of the stream, listed, loaded, looked up: the clock of its own snapshot, while others are in
    progress that began before."""
    source = world.source()
    cursor, _ = source.begin()
    open_session = world.begin()
    open_session.put("one", [("9",)], "not yet")
    put(world, "one", [("1",), ("2",)], "a")
    before = source.clock()
    reading = source.poll(cursor, 1, Limits(documents=1))
    assert reading.page is not None
    skimmed, _ = source.skim(reading.page.next, 1, 10)
    assert skimmed.page is not None
    pages = [
        reading.page.page, skimmed.page.page, source.load("one", None, 1, Limits(1)).page,
        *(source.lookup("one", some, 1) for some in ([], ["1"], ["none"])),
    ]  # fmt: skip
    after = source.clock()
    open_session.rollback()
    assert all(before <= clock_of(page.version) <= after for page in pages)
    assert all(epoch_of(page.version) == 1 for page in pages)


def test_a_page_that_was_thrown_away_is_given_again(world: World) -> None:
    """Though nothing has happened at the source since; so is the rest of its window."""
    source = world.source()
    cursor, _ = source.begin()
    put(world, "two", [("x", "1"), ("y", "2")], "a")
    first, again = (source.poll(cursor, 1, Limits(documents=1)).page for _ in range(2))
    assert first is not None and again is not None
    assert (again.page.body, again.next) == (first.page.body, first.next)
    rest = [source.poll(first.next, 1, Limits(documents=1)).page for _ in range(2)]
    assert [page and page.page.documents for page in rest] == [1, 1]
