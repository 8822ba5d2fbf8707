"""The cursor: how it moves, when it refuses, and that what is stored is what was."""

from __future__ import annotations

import doctest
import json
from typing import Any

import pytest

from txid_sync import cursor as cursor_module
from txid_sync.cursor import Cursor, Position
from txid_sync.errors import CursorFormatError
from txid_sync.snapshot import Snapshot

IDLE = Cursor.start(Snapshot.parse("10:14:10,12"))
UNTIL = Snapshot.parse("12:20:12,17")
OPEN = IDLE.after(UNTIL, Position("a", 15, 3, 1), full=True, rest=())


def test_doctests() -> None:
    """The cases in the module's docstring are true."""
    assert doctest.testmod(cursor_module).failed == 0


def test_A08_idle_cursor_is_stable() -> None:
    """A window without rows gives back the very same value and text."""
    after = IDLE.after(UNTIL, None, full=False, rest=())
    assert after == IDLE
    assert hash(after) == hash(IDLE)
    assert after.to_json() == IDLE.to_json()


def test_A07_aborted_txids_leave_at_the_next_news() -> None:
    """Txids that ended without rows leave the list with the first later row."""
    later = Snapshot.parse("30:30:")
    assert IDLE.after(later, Position("a", 29, 1, 1), full=False, rest=()).done.xip == ()


def test_F24_an_empty_poll_never_moves() -> None:
    """However far the snapshot has gone, a window without rows leaves `done` as it was."""
    for xmax in (14, 15, 1000):
        assert IDLE.after(Snapshot.of(xmax), None, full=False, rest=()).done == IDLE.done


def test_F06_closing_is_row_bound() -> None:
    """A txid above the last row read is never counted, even if it had ended."""
    after = IDLE.after(Snapshot.parse("40:40:"), Position("a", 15, 1, 1), full=False, rest=())
    assert after.done == Snapshot.of(16)
    assert after.wants(16)


def test_rule_1_an_open_window_keeps_its_snapshot() -> None:
    """Later pages bring later snapshots; the window ends where its first page said."""
    again = OPEN.after(Snapshot.parse("90:90:"), Position("a", 16, 4, 1), full=True, rest=())
    assert again.window is not None
    assert again.window.until == UNTIL


def test_a_page_without_keys_may_close_the_window() -> None:
    """Rows that were pruned meanwhile: what was read before still counts, nothing more."""
    assert OPEN.after(UNTIL, None, full=False, rest=()).done == UNTIL.below(16)


def test_the_next_table_does_not_lower_what_was_read() -> None:
    """The bound of the window is the greatest txid of all its tables."""
    second = OPEN.after(UNTIL, None, full=False, rest=("b",))
    closed = second.after(UNTIL, Position("b", 10, 9, 1), full=False, rest=())
    assert closed.done == UNTIL.below(16)


def test_discarding_a_window_goes_back_to_done() -> None:
    """What an open window has read is read again."""
    assert OPEN.discard_window() == IDLE


def test_going_back_and_pruning_are_noticed() -> None:
    """A smaller xmax, or a mark at the lowest open txid, cannot be followed."""
    assert IDLE.ahead_of(Snapshot.of(13))
    assert not IDLE.ahead_of(Snapshot.of(14))
    assert IDLE.overtaken_by(10)
    assert not IDLE.overtaken_by(9)


def test_moving_without_a_window_is_a_bug() -> None:
    """`advance` and `close` need an open window."""
    with pytest.raises(ValueError, match="no window"):
        IDLE.close()
    with pytest.raises(ValueError, match="no window"):
        IDLE.advance(Position("a", 1, 1, 1))


def _set(value: dict[str, Any], path: str, new: object) -> None:
    *outer, last = path.split(".")
    for name in outer:
        value = value[name]
    value[last] = new


@pytest.mark.parametrize(
    ("path", "new"),
    [
        ("format", 0), ("format", 2), ("format", "1"), ("format", None), ("done", None),
        ("done", 5), ("done", "5"), ("done", ["5:5:"]), ("done", "9:5:"), ("window", 1),
        ("window", []), ("window", {}), ("window.until", None), ("window.until", "5:5:"),
        ("window.until", "x"), ("window.read_to", None), ("window.read_to", -1),
        ("window.read_to", True), ("window.read_to", "1"), ("window.read_to", 2**63),
        ("window.read_to", 1.5), ("window.position", 5), ("window.position", []),
        ("window.position", ["a", 1, 1]), ("window.position", ["a", 1, 1, 1, 1]),
        ("window.position", [1, 1, 1, 1]), ("window.position", ["a", "1", 1, 1]),
        ("window.position", ["a", 1, None, 1]), ("window.position", ["a", 1, 1, -1]),
        ("extra", 1), ("window.extra", 1),
    ],
)  # fmt: skip
def test_F19_every_damaged_field_is_refused(path: str, new: object) -> None:
    """A stored cursor with any field damaged raises CursorFormatError; nothing is guessed."""
    value = json.loads(OPEN.to_json())
    _set(value, path, new)
    with pytest.raises(CursorFormatError):
        Cursor.from_json(json.dumps(value))


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "1", '"x"', "{}", b"\xff", OPEN.to_json()[:-1]]
)
def test_what_is_no_cursor_is_refused(text: str | bytes) -> None:
    """Truncated or foreign text raises CursorFormatError."""
    with pytest.raises(CursorFormatError):
        Cursor.from_json(text)


@pytest.mark.parametrize("name", ["format", "done", "window", "until", "position", "read_to"])
def test_missing_fields_are_refused(name: str) -> None:
    """A field that is not there is not replaced by a default."""
    value = json.loads(OPEN.to_json())
    (value if name in value else value["window"]).pop(name)
    with pytest.raises(CursorFormatError):
        Cursor.from_json(json.dumps(value))


def test_the_window_is_two_ranges() -> None:
    """Rule 2: of what was open only what has ended by its end, and everything that began since."""
    window = Cursor.start(Snapshot.parse("10:14:10,12")).open(Snapshot.parse("12:20:12,17"))
    assert list(window.ended) == [10]
    assert [txid for txid in range(25) if window.wants(txid)] == [10, 14, 15, 16, 17, 18, 19]
    closed = window.discard_window()
    assert list(closed.ended) == [10, 12]
    assert [txid for txid in range(16) if closed.wants(txid)] == [10, 12, 14, 15]
