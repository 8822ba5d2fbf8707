"""What every source has to do, whatever is behind it (see sources/base.py)."""

from __future__ import annotations

import pytest

from tests.conformance.walking import Held, apply, drain, passed, put, rows, used
from tests.conformance.worlds import KEYS, World
from txid_sync import ids
from txid_sync.cursor import Cursor
from txid_sync.errors import Discontinuity, SourceUnavailable, UsageError
from txid_sync.model import Limits, StreamPage, clock_of, epoch_of
from txid_sync.snapshot import Snapshot
from txid_sync.sources.base import Source


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_A05_every_change_arrives_in_any_page_size(world: World, size: int) -> None:
    """Inserts, updates and deletes of several statements and tables end equal."""
    source, held = world.source(), {name: Held() for name in KEYS}
    cursor, _ = source.begin()
    transaction = world.begin()
    transaction.put("one", [(f"{n}",) for n in range(9)], "a")
    transaction.put("two", [("x", "1"), ("y", "2")], "a")
    transaction.put("one", [("3",), ("5",)], "b")
    transaction.remove("one", [("0",), ("8",)])
    transaction.remove("two", [("x", "1")])
    transaction.put("one", [("20",), ("21",)], "c")  # nothing else stands for these keys
    transaction.commit()
    cursor = drain(source, cursor, held, size)
    want = {f"{n}": "b" if n in (3, 5) else "a" for n in range(1, 8)} | {"20": "c", "21": "c"}
    assert (rows(held["one"]), rows(held["two"])) == (want, {"y,2": "a"})


def test_A06_commits_out_of_order_arrive(world: World) -> None:
    """What began first and committed last is read too; what was rolled back is not."""
    source, held = world.source(), {name: Held() for name in KEYS}
    cursor, _ = source.begin()
    first, lost = world.begin(), world.begin()
    first.put("one", [("1",)], "first")
    lost.put("one", [("2",)], "lost")
    put(world, "one", [("3",)], "second")
    cursor = drain(source, cursor, held)
    assert rows(held["one"]) == {"3": "second"}
    lost.rollback()
    first.commit()
    drain(source, cursor, held)
    assert rows(held["one"]) == {"3": "second", "1": "first"}


def test_A08_an_idle_cursor_is_stable(world: World) -> None:
    """Polls without news give no page and a clock that only transactions move."""
    source = world.source()
    cursor, clock = source.begin()
    for _ in range(5):
        reading = source.poll(cursor, 1, Limits(2))
        assert reading.page is None
        assert reading.clock >= clock
        assert reading.identity == source.identity()


def test_A02_a_poll_assigns_no_txid(world: World) -> None:
    """The clock does not move by polling, loading or looking up."""
    source = world.source()
    cursor, _ = source.begin()

    def read() -> None:
        for _ in range(20):
            source.poll(cursor, 1, Limits(2))
            source.load("one", None, 1, Limits(2))
            source.lookup("one", ["1"], 1)

    assert used(source, read) == 0


@pytest.mark.parametrize("entries", [2, 3, 100])
def test_a_skim_lists_what_pages_would_read(world: World, entries: int) -> None:
    """Each id once, the place behind as many entries as a page's, and a gate; no documents."""
    source = world.source()
    cursor, _ = source.begin()
    for n in range(3):
        put(world, "one", [("1",), ("2",)], str(n))
    put(world, "two", [("7", "8")], "x")
    first = source.poll(cursor, 1, Limits(documents=1)).page
    assert first is not None
    reading, ids = source.skim(first.next, 1, entries)
    page = source.poll(first.next, 1, Limits(documents=min(entries, 6))).page
    assert page is not None and reading.page is not None
    assert (reading.page.next, reading.page.until_clock) == (page.next, page.until_clock)
    assert sorted(ids) == ["1", "2"]
    skimmed = passed(reading.page.page)
    assert (skimmed.documents, skimmed.body, skimmed.document) == (0, b"", "one")
    assert skimmed.fingerprint == page.page.fingerprint
    assert source.page_keys("one", Limits(documents=3)) <= 3


def test_the_gate_of_a_skim_is_lost_with_its_connection(world: World) -> None:
    """A skim that lists nothing new moves the cursor with no other page's gate before it."""
    source = world.source()
    cursor, _ = source.begin()
    put(world, "one", [("1",), ("2",)], "a")
    first = source.poll(cursor, 1, Limits(documents=1)).page
    assert first is not None
    skimmed = source.skim(first.next, 1, 9)[0].page
    assert skimmed is not None
    source.close()
    source.connect()
    with pytest.raises(SourceUnavailable):
        skimmed.page.ready()


def test_pages_carry_the_clock_of_their_own_snapshot(world: World) -> None:
    """Versions never fall along the stream; the epoch is the one asked for."""
    source = world.source()
    cursor, _ = source.begin()
    put(world, "one", [("1",), ("2",)], "a")
    first = _page(source, cursor, epoch=3)
    put(world, "one", [("1",)], "b")
    second = _page(source, first.next, epoch=3)
    assert epoch_of(first.page.version) == epoch_of(second.page.version) == 3
    assert clock_of(first.page.version) < clock_of(second.page.version)
    assert first.next.window is not None
    if second.next.window is not None:  # a full page: the table may have had more
        assert second.next.window.until == first.next.window.until
    else:
        assert second.next.done.xmax <= first.next.window.until.xmax


def _page(source: Source, cursor: Cursor, epoch: int = 1) -> StreamPage:
    found = source.poll(cursor, epoch, Limits(1)).page
    assert found is not None
    passed(found.page)
    return found


def test_an_open_window_survives_the_process(world: World) -> None:
    """A stored cursor in mid-window goes on on another source object, after more commits."""
    source, held = world.source(), {name: Held() for name in KEYS}
    cursor, _ = source.begin()
    put(world, "one", [(f"{n}",) for n in range(5)], "a")
    put(world, "two", [("x", "1")], "a")
    page = _page(source, cursor)
    apply(page.page, held["one"])
    put(world, "one", [("0",)], "b")
    drain(world.source(), Cursor.from_json(page.next.to_json()), held)
    assert rows(held["one"]) == {"0": "b", **{f"{n}": "a" for n in range(1, 5)}}
    assert rows(held["two"]) == {"x,1": "a"}


def test_F16_a_truncation_is_told(world: World) -> None:
    """TRUNCATE, then an insert: the index holds the new row alone."""
    source, held = world.source(), {name: Held() for name in KEYS}
    cursor, _ = source.begin()
    put(world, "one", [("1",), ("2",)], "a")
    cursor = drain(source, cursor, held)
    transaction = world.begin()
    transaction.truncate("one")
    transaction.put("one", [("3",)], "b")
    transaction.commit()
    drain(source, cursor, held)
    assert rows(held["one"]) == {"3": "b"}


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_load_reads_every_row_once(world: World, size: int) -> None:
    """Pages follow the key; the last one says so."""
    put(world, "two", [(x, y) for x in "abc" for y in "123"], "a")
    source, seen = world.source(), list[str]()
    after: tuple[str, ...] | None = None
    for _ in range(20):
        found = source.load("two", after, 1, Limits(size))
        held: Held = {}
        apply(passed(found.page), held)
        seen += held
        after = found.next
        if after is None:
            break
    assert sorted(seen) == [f"{x},{y}" for x in "abc" for y in "123"]


def test_a_lookup_answers_for_every_id(world: World) -> None:
    """Rows are indexed, missing ones and ids that are no key are deleted."""
    strange = ("a,b", 'back\\slash "quoted" é')
    put(world, "two", [strange], "a")
    source, held = world.source(), Held()
    wanted = [ids.encode(strange), "no,row", "not a key", "a\\b,c"]
    apply(passed(source.lookup("two", wanted, 1)), held)
    assert {name: row is not None for name, (_, row) in held.items()} == {
        name: name == wanted[0] for name in wanted
    }


def test_an_empty_key_has_an_id(world: World) -> None:
    """One empty text is a key like any other."""
    source, held = world.source(), {name: Held() for name in KEYS}
    cursor, _ = source.begin()
    put(world, "one", [("",)], "a")
    drain(source, cursor, held)
    assert rows(held["one"]) == {ids.EMPTY: "a"}


def test_a_long_id_is_a_dead_letter(world: World) -> None:
    """An id over 512 bytes is told, with its version, and does not stop the others."""
    source = world.source()
    cursor, _ = source.begin()
    put(world, "one", [("x" * 513,), ("1",)], "a")
    found = source.poll(cursor, 1, Limits(5)).page
    assert found is not None
    (letter,) = found.page.dead
    assert (letter.document, letter.id, letter.version) == ("one", "x" * 513, found.page.version)
    assert found.page.documents == 1


def test_F08_a_source_that_went_back_is_refused(world: World) -> None:
    """A cursor from the future cannot be followed."""
    source = world.source()
    with pytest.raises(Discontinuity):
        source.poll(Cursor.start(Snapshot.of(2**40)), 1, Limits(1))


def test_describe_names_key_and_fingerprint(world: World) -> None:
    """Every document has its key's columns in order, and pages carry the same fingerprint."""
    source = world.source()
    schemas = source.describe()
    assert {name: schema.key for name, schema in schemas.items()} == KEYS
    page = source.lookup("one", ["1"], 1)
    assert page.fingerprint == schemas["one"].fingerprint


def test_describe_tells_about_how_many_rows_there_are(world: World) -> None:
    """As far as statistics know, also those that are made while the source is connected."""
    source = world.source()
    first = source.describe()
    put(world, "one", [(str(n),) for n in range(30)], "x")
    world.analyze()
    found = source.describe()
    assert found["one"].rows == 30
    assert found["two"].rows in (None, 0)
    assert found == first  # rows that come and go are no other schema


def test_what_a_reader_wants_is_not_pruned(world: World) -> None:
    """A reader that was noted before its cursor began finds every row, whatever others prune; an
    open transaction is wanted by whoever begins now; what nobody wants goes."""
    source, other = world.source(), world.source()
    source.prune("one", "slow", None, 100)
    cursor, _ = source.begin()
    held = world.begin()
    held.put("one", [("1",)], "late")
    put(world, "one", [("2",)], "a")
    assert other.prune("one", "quick", 2**40, 100) == 0
    begun, _ = other.begin()
    held.commit()
    assert other.prune("one", "", None, 100) == 0, "nobody may delete what a reader wants"
    held_by = {name: Held() for name in KEYS}
    cursor = drain(source, cursor, held_by)
    assert rows(held_by["one"]) == {"1": "late", "2": "a"}
    assert source.prune("one", "slow", cursor.done.lowest_open, 100) == 0
    held_by = {name: Held() for name in KEYS}
    begun = drain(other, begun, held_by)
    assert rows(held_by["one"]) == {"1": "late"}
    assert other.prune("one", "quick", begun.done.lowest_open, 100) == 2


def test_A02_pruning_again_changes_nothing(world: World) -> None:
    """With nothing to note and nothing to delete the clock stands still."""
    source = world.source()
    put(world, "one", [("1",)], "a")
    source.prune("one", "r", 2**40, 100)
    cursor, _ = source.begin()
    wanted = cursor.done.lowest_open
    source.prune("one", "r", wanted, 100)

    def prune() -> None:
        for reader, txid in (("r", wanted), ("r", None), ("", None)):
            assert source.prune("one", reader, txid, 100) == 0

    assert used(source, prune) == 0


def test_a_cursor_that_pruning_has_overtaken_is_refused(world: World) -> None:
    """A reader that was never noted is not waited for; it finds out."""
    source = world.source()
    cursor, _ = source.begin()
    put(world, "one", [("1",)], "a")
    assert source.prune("one", "other", 2**40, 100) == 1
    with pytest.raises(Discontinuity):
        source.poll(cursor, 1, Limits(1))


def test_the_log_tells_what_is_not_done(world: World) -> None:
    """Entries of the wanted ids alone, each once per transaction, until a cursor counts them."""
    source, held = world.source(), {name: Held() for name in KEYS}
    cursor, _ = source.begin()
    strange = ("a,b", 'back\\slash "é')
    put(world, "two", [strange, ("x", "1")], "a")
    transaction = world.begin()
    transaction.put("two", [("y", "2")], "a")
    transaction.remove("two", [strange])
    transaction.put("two", [strange], "b")
    transaction.commit()
    wanted = [ids.encode(strange), "y,2", "no,row", "no key"]
    view = source.log("two", wanted, cursor.done, 100)
    assert view.complete
    assert dict(view.identity) == dict(source.identity())
    found = [(entry.id, entry.txid) for entry in view.entries]
    first, second = sorted({txid for _, txid in found})
    assert sorted(found) == sorted(
        [(wanted[0], first), (wanted[0], second), (wanted[1], second)]
    )
    assert view.snapshot.finished(second)
    cursor = drain(source, cursor, held)
    assert source.log("two", wanted, cursor.done, 100).entries == ()
    everything = source.log("two", wanted, Snapshot.of(1), 100).entries
    assert {entry.txid for entry in everything} == {first, second}


def test_the_log_is_looked_at_no_further_than_asked_for(world: World) -> None:
    """More rows than the limit: the oldest are looked at, and it says that there are more."""
    source = world.source()
    cursor, _ = source.begin()
    for n in range(5):
        put(world, "one", [(f"{n}",)], "a")
    view = source.log("one", ["0", "4"], cursor.done, 4)
    assert (view.complete, [entry.id for entry in view.entries]) == (False, ["0"])
    view = source.log("one", ["0", "4"], cursor.done, 5)
    assert (view.complete, sorted(entry.id or "" for entry in view.entries)) == (True, ["0", "4"])


def test_the_log_shows_what_was_open_when_the_cursor_began(world: World) -> None:
    """A transaction that was in progress then and committed since is not done."""
    source = world.source()
    transaction = world.begin()
    transaction.put("one", [("1",)], "a")
    put(world, "one", [("2",)], "a")
    cursor, _ = source.begin()
    assert cursor.done.xip
    assert source.log("one", ["1", "2"], cursor.done, 100).entries == ()
    transaction.commit()
    (entry,) = source.log("one", ["1"], cursor.done, 100).entries
    assert not cursor.done.finished(entry.txid)


def test_a_truncation_is_an_entry_of_every_id(world: World) -> None:
    """It has no id."""
    source = world.source()
    cursor, _ = source.begin()
    transaction = world.begin()
    transaction.truncate("one")
    transaction.commit()
    assert [e.id for e in source.log("one", ["1"], cursor.done, 100).entries] == [None]
    assert source.log("two", ["x,1"], cursor.done, 100).entries == ()


def test_keys_are_given_as_the_source_writes_them(world: World) -> None:
    """As many texts as the key has columns; anything else is refused."""
    source = world.source()
    assert source.key_of("two", ["a", "b,c"]) == ("a", "b,c")
    with pytest.raises(UsageError, match="2 columns"):
        source.key_of("two", ["a"])


def test_the_last_marker_of_a_name_is_read(world: World) -> None:
    """Each name has its own; the identity is that of the source."""
    source, other = world.source(), world.source()
    assert source.marker("m") == (source.identity(), "")
    assert source.mark("m", "first") == source.identity()
    source.mark("n", "another")
    source.mark("m", "second")
    assert other.marker("m") == (source.identity(), "second")
    assert other.marker("n")[1] == "another"
