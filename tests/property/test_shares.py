"""Laws of shares, of the meet of snapshots, and of progress that is put together."""

from __future__ import annotations

import doctest
import random
from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txid_sync import handover, ids, share
from txid_sync.cursor import Cursor
from txid_sync.errors import UsageError
from txid_sync.handover import merged
from txid_sync.progress.base import Counts, DocumentProgress, Progress
from txid_sync.share import MAX_WORKERS, WHOLE, Share
from txid_sync.snapshot import Snapshot

texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)
columns = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str), st.uuids().map(str), texts
)
keys = st.lists(columns, min_size=1, max_size=3).map(tuple)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Small snapshots."""
    xmax = draw(st.integers(1, 20))
    xip = draw(st.sets(st.integers(1, max(1, xmax - 1)), max_size=6))
    return Snapshot.of(xmax, tuple(sorted(x for x in xip if x < xmax)))


def test_doctests() -> None:
    """The cases in the docstrings are true."""
    assert doctest.testmod(share).failed == 0
    assert doctest.testmod(handover).failed == 0


@given(keys, st.integers(1, MAX_WORKERS))
def test_A10_every_key_is_of_exactly_one_share(key: tuple[str, ...], of: int) -> None:
    """Negative, text, uuid and composite keys: the shares are everything, and disjoint."""
    id = ids.encode(key)
    holding = [one for one in Share.all(of) if one.holds(id)]
    assert holding == [Share.of_id(id, of)]


@pytest.mark.parametrize("of", [2, 3, 7, 128])
def test_shares_are_about_equal(of: int) -> None:
    """Neighbouring numbers and random uuids spread evenly."""
    for names in (
        [str(n) for n in range(-5000, 5000)],
        [str(UUID(int=random.Random(n).getrandbits(128))) for n in range(10_000)],
    ):
        found = Counter(Share.of_id(name, of) for name in names)
        sizes = [found[one] for one in Share.all(of)]
        mean = len(names) / of
        assert max(abs(size - mean) for size in sizes) < 6 * mean**0.5


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "1/129", "-1/2", "a/b", "1/2/3"])
def test_what_is_no_worker_is_refused(text: str) -> None:
    """A wrong number says so."""
    with pytest.raises(UsageError):
        Share.parse(text)


def test_names_of_entries_are_different() -> None:
    """Every share of every number has an entry of its own; the whole has the pipeline's."""
    names = [one.entry("p") for of in range(1, 20) for one in Share.all(of)]
    assert len(set(names)) == len(names)
    assert WHOLE.entry("p") == "p"


@given(snapshots(), snapshots())
def test_the_meet_is_what_both_have_finished(one: Snapshot, other: Snapshot) -> None:
    """The intersection, and nothing else; in one canonical form."""
    both = one.meet(other)
    for txid in range(1, 25):
        assert both.finished(txid) == (one.finished(txid) and other.finished(txid))
    assert one.contains(both)
    assert other.contains(both)
    assert both == other.meet(one)
    assert one.meet(one) == Snapshot.of(one.xmax, one.xip)


ENTRY = DocumentProgress("t", "1", "f", "u", "d")


def progress(done: Snapshot, **changes: object) -> Progress:
    """Progress of a worker, with the changes in its only document."""
    entries = {"t": DocumentProgress(**{**_fields(ENTRY), **changes})}  # type: ignore[arg-type]
    cursor = Cursor(done).open(Snapshot.of(50)) if done.xmax <= 50 else Cursor(done)
    return Progress(cursor, {"system": "1"}, 3, 9, entries, Counts(1, 2, 3), workers=2)


def _fields(entry: DocumentProgress) -> dict[str, object]:
    return {name: getattr(entry, name) for name in DocumentProgress.__slots__}


@given(st.lists(snapshots(), min_size=1, max_size=5), st.integers(1, MAX_WORKERS))
def test_nothing_counts_as_done_that_a_share_has_not_done(
    dones: list[Snapshot], workers: int
) -> None:
    """Merged progress is the meet, without a window, with nothing to do if nobody had anything."""
    together = merged([progress(done) for done in dones], workers)
    assert together.cursor.window is None
    assert all(done.contains(together.cursor.done) for done in dones)
    assert together.documents == {"t": ENTRY}
    assert (together.epoch, together.highest_version, together.workers) == (3, 9, workers)
    assert together.acknowledged == Counts(len(dones), 2 * len(dones), 3 * len(dones))


def test_what_one_had_to_do_is_to_be_done_by_all() -> None:
    """A load begins anew, a sweep that was not asked for takes its load with it."""
    done = Snapshot.of(9)
    loading = progress(done, load=True, load_after=("5",), load_version=7)
    (entry,) = merged([progress(done), loading], 3).documents.values()
    assert (entry.load, entry.load_after, entry.load_version) == (True, None, 7)
    sweeping = progress(done, sweep_below=8, load_version=8)
    (entry,) = merged([sweeping, progress(done, load_version=5)], 3).documents.values()
    assert (entry.load, entry.load_version, entry.sweep_below, entry.sweep_asked) == (
        True, 8, 8, False,
    )  # fmt: skip
    truncated = progress(done, sweep_below=8, sweep_asked=True)
    (entry,) = merged([progress(done), truncated], 3).documents.values()
    assert (entry.load, entry.sweep_below, entry.sweep_asked) == (False, 8, True)


@pytest.mark.parametrize("field", ["relation", "fingerprint", "index_uuid", "definition"])
def test_a_document_that_the_shares_know_differently_counts_as_new(field: str) -> None:
    """It is left out, so that it is written again under a new epoch."""
    done = Snapshot.of(9)
    assert merged([progress(done), progress(done, **{field: "other"})], 3).documents == {}


def test_shares_of_different_lives_are_of_no_history() -> None:
    """Another epoch or another source: what comes out fits no source, so everybody resyncs."""
    one = progress(Snapshot.of(9))
    for other in (
        Progress(one.cursor, {"system": "2"}, 3, 9, one.documents),
        Progress(one.cursor, one.identity, 4, 9, one.documents),
    ):
        together = merged([one, other], 2)
        assert (together.identity, together.epoch) == ({}, other.epoch)
