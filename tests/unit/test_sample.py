"""Where a long window is looked at: spread over all of it, with no pattern, always the same."""

from __future__ import annotations

import re

import pytest

from txid_sync.cursor import Cursor, Position
from txid_sync.snapshot import Snapshot
from txid_sync.sources.postgres_sample import POINTS, points


def _chosen(until: int, at: int = 1000, done: str = "1000:1000:") -> list[tuple[int, int, int]]:
    opened = Cursor.start(Snapshot.parse(done)).open(Snapshot.of(until))
    place = Position("a", at, 1, 1)
    found = points(opened.advance(place), place)
    texts = [re.findall(r"\d+", found[name]) for name in ("txids", "bounds", "points")]
    return [(int(a), int(b), int(c)) for a, b, c in zip(*texts, strict=True)]


@pytest.mark.parametrize("keys", [50_000, 49_999, 4096, 25_000])
@pytest.mark.parametrize("stride", [1, 7919])
def test_rounds_of_the_same_keys_are_noticed(keys: int, stride: int) -> None:
    """In 1,000,000 transactions of one key each; whatever the order of the keys in a round."""
    found = [n * stride % keys for n, _, _ in _chosen(1_001_000)]
    expected = POINTS**2 / 2 / keys
    assert len(found) - len(set(found)) > expected / 2


def test_all_of_what_is_left_is_looked_at() -> None:
    """From the place that is read up to the window's end, about evenly; the same each time."""
    found = _chosen(301_000, at=101_000)
    assert sum(count for _, _, count in found) == POINTS
    assert {bound for _, bound, _ in found} == {301_000}
    assert found == _chosen(301_000, at=101_000)
    part = 200_000 // POINTS
    for n, (txid, _, _) in enumerate(found):
        assert 0 <= txid - 101_000 - n * part < part


def test_a_few_transactions_have_many_points_each() -> None:
    """Each is asked for once."""
    found = _chosen(1004)
    assert [txid for txid, _, _ in found] == [1000, 1001, 1002, 1003]
    assert [count for _, _, count in found] == [POINTS // 4] * 4


def test_what_was_open_is_looked_at_while_it_is_read() -> None:
    """Half of the points are for transactions that the last window left open."""
    done = "900:1000:900,950,990"
    found = _chosen(2000, 950, done)
    early = [(txid, bound) for txid, bound, _ in found if txid < 1000]
    assert early == [(950, 951), (990, 991)]
    assert sum(count for txid, _, count in found if txid < 1000) == POINTS // 2
    assert min(txid for txid, _, _ in _chosen(2000, 1100, done)) >= 1100


def test_a_window_of_nothing_but_what_was_open_has_points() -> None:
    """Its second range is empty."""
    found = _chosen(1000, 900, "900:1000:900")
    assert found == [(900, 901, POINTS // 2)]
