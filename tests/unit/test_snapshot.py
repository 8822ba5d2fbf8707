"""Snapshots: parsing, the finished set, and the laws that the clock rests on."""

from __future__ import annotations

import doctest

import pytest

from txid_sync import snapshot
from txid_sync.errors import CursorFormatError
from txid_sync.snapshot import MAX_TXID, Snapshot


def test_doctests() -> None:
    """The cases in the module's docstring are true."""
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    assert doctest.testmod(snapshot, optionflags=flags).failed == 0


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "1:2", "1:2:3:4", " 1:2:", "1:2: ", "1:2:\n", "a:2:", "-1:2:", "+1:2:", "1.0:2:",
        "0:2:", "3:2:", "1:2:2", "1:4:0", "2:4:1", "1:9:3,3", "1:9:4,3", "1:9:,3", "1:9:3,",
        "1:9:3,,4", f"1:{2**63}:", "1:99999999999999999999:", "١:٢:", "1:2:None",
    ],
)  # fmt: skip
def test_damaged_text_is_refused(text: str) -> None:
    """Nothing is guessed: a text that no server prints raises CursorFormatError."""
    with pytest.raises(CursorFormatError):
        Snapshot.parse(text)


@pytest.mark.parametrize(("xmin", "xmax", "xip"), [(2, 1, ()), (1, 9, (9,)), (1, 9, (4, 3))])
def test_damaged_fields_are_refused(xmin: int, xmax: int, xip: tuple[int, ...]) -> None:
    """A Snapshot that contradicts itself cannot be made."""
    with pytest.raises(CursorFormatError):
        Snapshot(xmin, xmax, xip)


def test_the_greatest_txid_fits() -> None:
    """64-bit txids up to the last one are read and printed; none is cut to 32 bits."""
    text = f"{2**32 - 1}:{MAX_TXID}:{2**32 - 1},{2**32}"
    assert str(Snapshot.parse(text)) == text
    assert not Snapshot.parse(text).finished(2**32)


def test_below_cuts_and_keeps() -> None:
    """`below` drops what lies at or above the bound and nothing else."""
    whole = Snapshot.parse("10:20:10,15")
    assert whole.below(15) == Snapshot.of(15, (10,))
    assert whole.below(16) == Snapshot.of(16, (10, 15))
    assert whole.below(10) == Snapshot.of(10)
    assert whole.below(99) == whole


def test_equal_sets_are_equal_values() -> None:
    """The canonical form does not depend on the xmin that the server printed."""
    assert Snapshot.of(9, (5,)) == Snapshot.parse("3:9:5").below(9)
    assert hash(Snapshot.of(9, (5,))) == hash(Snapshot.parse("3:9:5").below(9))
