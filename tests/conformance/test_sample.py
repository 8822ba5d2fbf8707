"""What a source tells of a long window before it is skimmed: whether keys repeat in it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.conformance.walking import put, used
from tests.conformance.worlds import World
from txid_sync.cursor import Cursor
from txid_sync.model import Limits
from txid_sync.sources.base import Source


def _behind(source: Source, cursor: Cursor) -> Cursor:
    """The cursor behind the first key of what is new."""
    page = source.poll(cursor, 1, Limits(documents=1)).page
    assert page is not None
    assert page.next.window is not None
    return page.next


def _singles(world: World, keys: Iterable[int], table: str = "one") -> None:
    for key in keys:
        put(world, table, [(str(key),)], "x")


def _in_one_transaction(world: World, *statements: Iterable[int]) -> None:
    transaction = world.begin()
    for keys in statements:
        transaction.put("one", [(str(key),) for key in keys], "x")
    transaction.commit()


def test_different_keys_do_not_repeat(world: World) -> None:
    """Each is found several times in the log's few rows: that is no repetition."""
    source = world.source()
    cursor, _ = source.begin()
    _singles(world, range(30))
    assert not source.sample(_behind(source, cursor))


def test_keys_of_several_transactions_repeat(world: World) -> None:
    """One key that comes again is enough where all entries are looked at."""
    source = world.source()
    cursor, _ = source.begin()
    _singles(world, [*range(20), 7])
    assert source.sample(_behind(source, cursor))


@pytest.mark.parametrize(("rounds", "repeats"), [(1, False), (4, True)])
def test_rounds_in_an_order_of_their_own_are_noticed(
    world: World, rounds: int, repeats: bool
) -> None:
    """The keys of each round come in leaps."""
    source = world.source()
    cursor, _ = source.begin()
    _singles(world, [n * 7919 % 20 for n in range(rounds * 20)])
    assert source.sample(_behind(source, cursor)) is repeats


@pytest.mark.parametrize("size", [1, 30, 2500])
def test_a_single_transaction_is_looked_into(world: World, size: int) -> None:
    """Its statements are log rows, and those of many keys are several."""
    source = world.source()
    cursor, _ = source.begin()
    parts = [range(n * size, (n + 1) * size) for n in range(3)]
    _in_one_transaction(world, *parts)
    assert not source.sample(_behind(source, cursor))
    cursor, _ = source.begin()
    _in_one_transaction(world, *parts, *parts)
    assert source.sample(_behind(source, cursor))


def test_keys_of_several_columns_are_compared_whole(world: World) -> None:
    """Those that share a column are different."""
    source = world.source()
    cursor, _ = source.begin()
    pairs = [(x, y) for x in "abcd" for y in "1234"]
    put(world, "two", pairs, "x")
    assert not source.sample(_behind(source, cursor))
    cursor, _ = source.begin()
    put(world, "two", pairs, "x")
    put(world, "two", [("b", "3")], "y")
    assert source.sample(_behind(source, cursor))


def test_another_table_and_what_is_read_do_not_count(world: World) -> None:
    """Nor do changes that came after the window's end."""
    source = world.source()
    cursor, _ = source.begin()
    for _ in range(3):
        put(world, "two", [("a", "1"), ("a", "2")], "x")
    _singles(world, range(20))
    at = _behind(source, cursor)
    _singles(world, range(20))
    assert at.position is not None
    assert at.position.table == "one"
    assert not source.sample(at)


def test_what_was_open_when_the_last_window_ended_counts(world: World) -> None:
    """Though all that began later is different."""
    source = world.source()
    transaction = world.begin()
    transaction.put("one", [("1",), ("2",)], "x")
    put(world, "two", [("a", "1")], "x")
    cursor, _ = source.begin()
    assert cursor.done.xip
    transaction.put("one", [("1",), ("2",)], "y")
    transaction.commit()
    _singles(world, range(10, 20))
    assert source.sample(_behind(source, cursor))


def test_a_truncation_is_no_key(world: World) -> None:
    """However often a table was emptied."""
    source = world.source()
    cursor, _ = source.begin()
    _singles(world, [1, 2])
    for _ in range(3):
        transaction = world.begin()
        transaction.truncate("one")
        transaction.commit()
    _singles(world, [3, 4])
    assert not source.sample(_behind(source, cursor))


def test_A02_a_sample_assigns_no_txid(world: World) -> None:
    """It only reads; of no window it tells nothing."""
    source = world.source()
    cursor, _ = source.begin()
    assert not source.sample(cursor)
    _singles(world, [1, 2, 1, 2])
    at = _behind(source, cursor)
    assert used(source, lambda: [source.sample(at) for _ in range(5)] and None) == 0
