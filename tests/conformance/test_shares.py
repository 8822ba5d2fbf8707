"""What a source of a share gives, whatever is behind it: together everything, nothing twice."""

from __future__ import annotations

import pytest

from tests.conformance.walking import Held, apply, drain, passed
from tests.conformance.worlds import KEYS, World
from txid_sync import ids
from txid_sync.cursor import Cursor
from txid_sync.model import Limits
from txid_sync.share import Share
from txid_sync.sources.base import Source

COUNTS = (1, 2, 3, 20)  # more than most tables have rows
NAMES = ["-5", "", "a,b", "\\", "ümlaut", "6f9619ff-8b86-d011-b42d-00c04fc964ff", *"0123456789"]
ROWS = {"one": [(name,) for name in NAMES], "two": [(x, y) for x in NAMES[:6] for y in NAMES[:4]]}


def put(world: World, v: str = "v") -> None:
    """Write every row."""
    transaction = world.begin()
    for table, rows in ROWS.items():
        transaction.put(table, rows, v)
    transaction.commit()


def loaded(source: Source, table: str) -> list[str]:
    """The ids that a whole load gives."""
    after, found = None, []
    source.connect()
    for _ in range(1000):
        page = source.load(table, after, 1, Limits(documents=3))
        held: Held = {}
        apply(passed(page.page), held)
        found += list(held)
        after = page.next
        if after is None:
            source.close()
            return found
    raise AssertionError("the load does not end")


def begin(source: Source) -> Cursor:
    """A first cursor; the connection is closed (twenty beside others are too many for a server)."""
    cursor, _ = source.begin()
    source.close()
    return cursor


@pytest.mark.parametrize("of", COUNTS)
def test_A10_loads_of_all_shares_give_every_row_once(world: World, of: int) -> None:
    """The union is the table, no row is in two shares, and each is where the hash says."""
    put(world)
    for table, rows in ROWS.items():
        by_share = {share: loaded(world.source(share), table) for share in Share.all(of)}
        found = [id for held in by_share.values() for id in held]
        assert sorted(found) == sorted(map(ids.encode, rows))
        assert all(share.holds(id) for share, held in by_share.items() for id in held)


@pytest.mark.parametrize("of", COUNTS)
def test_A10_streams_of_all_shares_give_every_change_once(world: World, of: int) -> None:
    """Each worker walks over the whole log, and gives the keys of its share alone."""
    begun = {share: begin(world.source(share)) for share in Share.all(of)}
    put(world)
    transaction = world.begin()
    transaction.remove("one", ROWS["one"][:3])
    transaction.put("two", ROWS["two"][:5], "w")
    transaction.commit()
    given: dict[str, Held] = {name: {} for name in KEYS}
    for share, cursor in begun.items():
        held: dict[str, Held] = {name: {} for name in KEYS}
        source = world.source(share)
        assert source.poll(drain(source, cursor, held), 1, Limits()).page is None
        source.close()
        for name in KEYS:
            assert all(share.holds(id) for id in held[name])
            assert not set(held[name]) & set(given[name])
            given[name] |= held[name]
    assert {name: set(held) for name, held in given.items()} == {
        name: set(map(ids.encode, rows)) for name, rows in ROWS.items()
    }
    gone = {id for id, (_, row) in given["one"].items() if row is None}
    assert gone == set(map(ids.encode, ROWS["one"][:3]))


@pytest.mark.parametrize("of", COUNTS)
def test_A10_skims_of_all_shares_list_every_key_once(world: World, of: int) -> None:
    """In a long window too: each key is listed for its own worker alone."""
    begun = {share: begin(world.source(share)) for share in Share.all(of)}
    for v in ("v", "w"):
        put(world, v)
    listed: set[str] = set()
    for share, cursor in begun.items():
        source, held = world.source(share), Held()
        reading = source.poll(cursor, 1, Limits(documents=2))
        assert reading.page is not None
        apply(passed(reading.page.page), held)
        found, at = set(held), reading.page.next
        while at.position is not None and at.position.table == "one":
            reading, ids_of_skim = source.skim(at, 1, 7)
            assert reading.page is not None
            assert len(set(ids_of_skim)) == len(ids_of_skim)
            found |= set(ids_of_skim)
            at = reading.page.next
        source.close()
        assert all(map(share.holds, found))
        assert not found & listed
        listed |= found
    assert listed == set(map(ids.encode, ROWS["one"]))


def test_a_window_of_other_shares_is_passed_over(world: World) -> None:
    """A share without a key in the window reads empty pages to its end; its cursor is as any."""
    sources = [world.source(Share(1, 2)), world.source(Share(2, 2)), world.source()]
    begun = [source.begin()[0] for source in sources]
    mine = [(name,) for name in NAMES if Share(1, 2).holds(ids.encode((name,)))]
    transaction = world.begin()
    transaction.put("one", mine, "v")
    transaction.commit()
    helds: list[dict[str, Held]] = [{name: {} for name in KEYS} for _ in sources]
    ends: list[Cursor] = [
        drain(source, cursor, held)
        for source, cursor, held in zip(sources, begun, helds, strict=True)
    ]
    assert not helds[1]["one"]
    assert helds[0]["one"].keys() == helds[2]["one"].keys() == set(map(ids.encode, mine))
    assert ends[0].done == ends[1].done == ends[2].done


def test_every_share_sees_a_truncation(world: World) -> None:
    """So that each sweeps what is its own."""
    put(world)
    sources = [world.source(share) for share in Share.all(3)]
    begun = [source.begin()[0] for source in sources]
    transaction = world.begin()
    transaction.truncate("one")
    transaction.commit()
    for source, cursor in zip(sources, begun, strict=True):
        reading = source.poll(cursor, 1, Limits())
        assert reading.page is not None
        assert reading.page.truncated


def test_look_ups_are_of_the_whole_table(world: World) -> None:
    """A share cuts stream and load, and nothing else."""
    put(world)
    held: Held = {}
    apply(passed(world.source(Share(1, 128)).lookup("one", ["0", "1", "none"], 1)), held)
    assert {id: row is not None for id, (_, row) in held.items()} == {
        "0": True, "1": True, "none": False,
    }  # fmt: skip


def test_a_forgotten_reader_holds_nothing(world: World) -> None:
    """What it has noted is gone; whom nobody knows is forgotten as well."""
    source = world.source()
    source.prune("one", "old", None, 1000)
    put(world)
    assert source.prune("one", "", None, 1000) == 0
    source.forget("nobody")
    source.forget("old")
    assert source.prune("one", "", None, 1000) > 0
