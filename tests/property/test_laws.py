"""Laws of snapshots and cursors over generated values."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from txid_sync.cursor import Cursor, Position
from txid_sync.snapshot import MAX_TXID, Snapshot

offsets = st.sampled_from([0, 2**32 - 20, MAX_TXID - 60])


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Any snapshot of a few dozen txids, around 2^32 and the end of the range too."""
    base = draw(offsets)
    xmax = draw(st.integers(2, 40))
    xip = sorted(draw(st.sets(st.integers(1, xmax - 1), max_size=8)))
    xmin = draw(st.integers(1, xip[0] if xip else xmax))
    return Snapshot(base + xmin, base + xmax, tuple(base + x for x in xip))


@st.composite
def histories(draw: st.DrawFn) -> list[Snapshot]:
    """Snapshots of one server, in time: txids begin in order and end in any order."""
    taken, open_txids, next_txid, latest = [], set[int](), 3, 2
    for choice in draw(st.lists(st.integers(0, 9), max_size=40)):
        if choice < 4 or not open_txids:
            open_txids.add(next_txid)
            next_txid += 1
        else:
            ended = sorted(open_txids)[choice % len(open_txids)]
            open_txids.remove(ended)
            latest = max(latest, ended)
        xmax = latest + 1
        taken.append(Snapshot.of(xmax, tuple(sorted(x for x in open_txids if x < xmax))))
    return taken


def _around(snapshot: Snapshot) -> range:
    return range(max(1, snapshot.xmax - 45), snapshot.xmax + 3)


@given(snapshots())
def test_printed_snapshots_parse_to_themselves(snapshot: Snapshot) -> None:
    """parse and print are inverse."""
    assert Snapshot.parse(str(snapshot)) == snapshot


@given(snapshots())
def test_the_clock_counts_the_finished(snapshot: Snapshot) -> None:
    """The clock is the number of finished txids (0 among them, as it never was one)."""
    around = _around(snapshot)
    assert snapshot.clock == around.start + sum(map(snapshot.finished, around))


@given(snapshots())
def test_the_lowest_open_is_the_least_unfinished(snapshot: Snapshot) -> None:
    """All below it are finished, it is not."""
    assert not snapshot.finished(snapshot.lowest_open)
    assert all(map(snapshot.finished, range(_around(snapshot).start, snapshot.lowest_open)))


@given(snapshots(), snapshots())
def test_contains_is_subset(a: Snapshot, b: Snapshot) -> None:
    """`contains` says what comparing txid by txid says."""
    low = max(1, min(a.xmax, b.xmax) - 45)
    txids = range(low, min(max(a.xmax, b.xmax), low + 100) + 1)
    expected = b.xmax <= a.xmax and all(a.finished(x) for x in txids if b.finished(x))
    if b.xmax > a.xmax:  # its last finished txid may lie below: then the sets can still nest
        assert not a.contains(b)
    else:
        assert a.contains(b) == expected


@given(snapshots(), st.integers(1, 45))
def test_below_is_the_intersection(snapshot: Snapshot, back: int) -> None:
    """below(x) finishes what is finished and below x, and nothing else."""
    bound = max(1, snapshot.xmax + 3 - back)
    cut = snapshot.below(bound)
    for x in _around(snapshot):
        assert cut.finished(x) == (snapshot.finished(x) and x < bound)
    assert snapshot.contains(cut)


@given(histories())
def test_the_clock_never_falls_and_names_the_state(taken: list[Snapshot]) -> None:
    """On one server later contains earlier; equal clocks are equal finished sets."""
    for before, after in pairwise(taken):
        assert after.contains(before)
        assert before.clock <= after.clock
        assert (before.clock == after.clock) == (before == after)


@st.composite
def cursors(draw: st.DrawFn) -> Cursor:
    """Cursors as a walk through a history leaves them."""
    taken = draw(histories().filter(bool))
    cursor = Cursor.start(taken[0])
    for until in taken[1:]:
        new = [x for x in range(3, until.xmax) if cursor.wants(x) and until.finished(x)]
        if not new:
            continue
        txid = draw(st.sampled_from(new))
        full, rest = draw(st.booleans()), draw(st.sampled_from([(), ("b",)]))
        last = Position("a", txid, draw(st.integers(1, 5)), draw(st.integers(0, 3)))
        cursor = cursor.after(until, last, full, rest)
    return cursor


@given(cursors())
def test_F19_stored_cursors_come_back_byte_stable(cursor: Cursor) -> None:
    """Reading gives an equal value with an equal hash, and that gives the same text."""
    again = Cursor.from_json(cursor.to_json())
    assert again == cursor
    assert hash(again) == hash(cursor)
    assert again.to_json() == cursor.to_json()
    assert Cursor.from_json(cursor.to_json().encode()) == cursor


@given(histories().filter(bool), st.data())
def test_F01_after_is_monotone(taken: list[Snapshot], data: st.DataObject) -> None:
    """`done` only grows; it never counts a txid beyond the last row read, nor an open one."""
    cursor = Cursor.start(taken[0])
    read_to = 0
    for now in taken[1:]:
        until = cursor.window.until if cursor.window else now
        new = [x for x in range(3, until.xmax) if cursor.wants(x) and until.finished(x)]
        txid = data.draw(st.sampled_from(new)) if new else None
        last = None if txid is None else Position("a", txid, 1, 1)
        read_to = max(read_to, txid or 0)
        full = data.draw(st.booleans()) if last else False
        moved = cursor.after(now, last, full, ())
        assert moved.done.contains(cursor.done)
        assert until.contains(moved.done)
        assert moved.done.xmax <= max(cursor.done.xmax, read_to + 1)
        assert not moved.ahead_of(now)
        cursor = moved
