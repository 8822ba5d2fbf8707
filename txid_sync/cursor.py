"""The cursor: exactly which transactions are new, as a pure value.

Theory
------
`done` is a finished set (see snapshot.py): every change logged by a transaction in `done` has been
read in a snapshot that sees that transaction, and was acknowledged by the sink.  What is new is a
**window**: the rows of the change log whose txid is not in `done` and is below `until.xmax`, where
`until` is a snapshot taken no later than the first page of the window.  A window is read page by
page, each page in its own fresh snapshot, in the order (table, txid, seq, item); `position` is the
place of the last key in that order.  After the last page the window closes and its finished
transactions join `done`.

Why nothing is lost: let t be a committed transaction that logged key k, with t finished in
`until` and not in `done`.  Its log rows are visible to every page of the window (a page's snapshot
is no older than `until`), log rows never change, so the walk in order meets them exactly once, in
a snapshot that sees t.  If t was still open in `until`, some of its rows may be passed over when it
commits in mid-window, but t is not finished in `until`, so closing leaves it out of `done`: it is
new in the next window.

Rules
-----
1. `until` is a snapshot taken no later than any page of its window; never a later page's.
2. The window is two ranges: the txids of done.xip that are finished in `until`, and
   done.xmax <= txid < until.xmax.
3. `position` is that of the last key in order, never the greatest of each column.
4. A window counts only pages that the sink has acknowledged.
5. Closing is **row-bound**: done := F(until) and {x < X}, with
   X = max(done.xmax, min(until.xmax, greatest txid read + 1)).  A txid beyond the last row read is
   never counted: should the server ever hand out a number again that ended without writing a
   row (the flush gate of the source sees to it that it does not), that number is still new.
6. A window without rows changes nothing: an idle cursor stays byte-equal.
7. A log pruned at or above the lowest open txid of `done` may have lost unread rows: resync.

Cases of `Cursor.after`, which moves a cursor over one acknowledged page:

| page                                 | cursor after it                           |
|--------------------------------------|-------------------------------------------|
| full: its table may have more        | position = the page's last key            |
| the table's last, other tables left  | position = the start of the next table    |
| the table's last, no table left      | window closed (rule 5)                    |

>>> idle = Cursor.start(Snapshot.parse("10:14:10,12"))
>>> until = Snapshot.parse("12:20:12,17")
>>> last = Position("a", 15, 3, 1)
>>> idle.after(until, last, full=True, rest=("b",))              # full
Cursor(14-2, window to 20-2, read a/15/3/1)
>>> idle.after(until, last, full=False, rest=("b", "c"))         # other tables left
Cursor(14-2, window to 20-2, read b/0/0/0)
>>> idle.after(until, last, full=False, rest=())                 # closed: 16 is the row bound
Cursor(16-1)
>>> _.done                                    # 10 ended and joined; 12 is open; 17 lies beyond
Snapshot(xmin=12, xmax=16, xip=(12,))
>>> idle.after(until, Position("a", 10, 1, 1), full=False, rest=()).done    # only an old txid read
Snapshot(xmin=12, xmax=14, xip=(12,))
>>> Cursor.from_json(idle.to_json()) == idle                     # what is stored is what was
True

No I/O, no clock of the wall, no randomness, no dependency beyond the standard library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from txid_sync.errors import CursorFormatError
from txid_sync.snapshot import MAX_TXID, Snapshot

FORMAT = 1


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Place of a key in a window: its table's name, log row (txid, seq) and item in that row."""

    table: str
    txid: int
    seq: int
    item: int


@dataclass(frozen=True, slots=True)
class Window:
    """An open window: its first snapshot, how far it is read, the greatest txid read (0: none)."""

    until: Snapshot
    position: Position | None = None
    read_to: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class Cursor:
    """Which transactions are done, and the window that is being read, if any.  A value."""

    done: Snapshot
    window: Window | None = None

    @classmethod
    def start(cls, snapshot: Snapshot) -> Cursor:
        """A cursor for which everything that `snapshot` shows as finished is done."""
        return cls(Snapshot.of(snapshot.xmax, snapshot.xip))

    # -- what to read (rule 2) --------------------------------------------------------------

    def wants(self, txid: int) -> bool:
        """Whether a log row of this transaction belongs to the window."""
        if txid >= self.done.xmax:
            return txid < self.until_xmax
        ended = self.window is None or self.window.until.finished(txid)
        return ended and not self.done.finished(txid)

    @property
    def ended(self) -> Sequence[int]:
        """The window's first range: what `done` holds open and the window's end does not.

        Ascending; all that `done` holds open while no window is.
        """
        still_open = frozenset(self.window.until.xip if self.window else ())
        return [txid for txid in self.done.xip if txid not in still_open]

    @property
    def until_xmax(self) -> int:
        """Upper bound (exclusive) of the window's second range; none while no window is open."""
        return self.window.until.xmax if self.window else MAX_TXID

    @property
    def position(self) -> Position | None:
        """Place of the last key that was read, None at the start of a window."""
        return self.window.position if self.window else None

    # -- how it moves (rules 1, 3 to 6) -----------------------------------------------------

    def open(self, until: Snapshot) -> Cursor:
        """Open a window; one that is open already stays as it is (rule 1)."""
        return self if self.window else replace(self, window=Window(until))

    def advance(self, position: Position) -> Cursor:
        """Move the open window to the last key of an acknowledged page (rule 3)."""
        window = self._open_window()
        read_to = max(window.read_to, position.txid)
        return replace(self, window=Window(window.until, position, read_to))

    def close(self) -> Cursor:
        """Close the window: its finished transactions join `done` (rules 5 and 6)."""
        window = self._open_window()
        if window.read_to == 0:
            return replace(self, window=None)
        bound = max(self.done.xmax, min(window.until.xmax, window.read_to + 1))
        return Cursor(window.until.below(bound))

    def after(
        self, until: Snapshot, last: Position | None, full: bool, rest: Sequence[str]
    ) -> Cursor:
        """The cursor once a page is acknowledged; see the case table above.

        `last` is the page's last key in order (None: it had no key), `full` whether its table may
        have more, `rest` the tables of the window that come after it, in order.
        """
        moved = self.open(until)
        if last is not None:
            moved = moved.advance(last)
        if full:
            return moved
        return moved.advance(Position(rest[0], 0, 0, 0)) if rest else moved.close()

    def discard_window(self) -> Cursor:
        """Forget the open window; what it read is read again.  Always safe."""
        return replace(self, window=None)

    def _open_window(self) -> Window:
        if self.window is None:
            raise ValueError("no window is open")
        return self.window

    # -- when not to go on ------------------------------------------------------------------

    def ahead_of(self, snapshot: Snapshot) -> bool:
        """Whether the source shows fewer transactions than are done: it went back."""
        return snapshot.xmax < self.done.xmax

    def overtaken_by(self, pruned_txid: int) -> bool:
        """Whether the log was pruned where it may not have been read yet (rule 7)."""
        return pruned_txid >= self.done.lowest_open

    # -- storing ----------------------------------------------------------------------------

    def to_json(self) -> str:
        """Byte-stable JSON: equal cursors give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, to be stored inside something larger."""
        window = None
        if self.window is not None:
            at = self.window.position
            window = {
                "until": str(self.window.until),
                "position": None if at is None else [at.table, at.txid, at.seq, at.item],
                "read_to": self.window.read_to,
            }
        return {"format": FORMAT, "done": str(self.done), "window": window}

    @classmethod
    def from_json(cls, text: str | bytes) -> Cursor:
        """Read what `to_json` wrote; raises CursorFormatError on anything else."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CursorFormatError(f"cursor is not JSON: {error}") from None
        return cls.from_dict(value)

    @classmethod
    def from_dict(cls, value: object) -> Cursor:
        """Read what `to_dict` gave; checks every field, refuses unknown ones."""
        fields = _fields(value, "cursor", {"format", "done", "window"})
        if type(fields["format"]) is not int or fields["format"] != FORMAT:
            raise CursorFormatError(
                f"cursor has format {fields['format']!r}, this program knows {FORMAT}",
                "use the program version that wrote it, or resync",
            )
        done = _snapshot(fields["done"], "done")
        if fields["window"] is None:
            return cls(done)
        return cls(done, _window(fields["window"], done))

    def __repr__(self) -> str:
        text = f"{self.done.xmax}-{len(self.done.xip)}"
        if self.window is not None:
            until, at = self.window.until, self.window.position
            read = f"{at.table}/{at.txid}/{at.seq}/{at.item}" if at else "nothing"
            text += f", window to {until.xmax}-{len(until.xip)}, read {read}"
        return f"Cursor({text})"


def _fields(value: object, what: str, names: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict) or set(value) != names:
        have = sorted(value) if isinstance(value, dict) else type(value).__name__
        raise CursorFormatError(f"{what} must have the fields {sorted(names)}, not {have}")
    return value


def _snapshot(value: object, field: str) -> Snapshot:
    if not isinstance(value, str):
        raise CursorFormatError(f"cursor field {field!r} must be a snapshot's text")
    return Snapshot.parse(value)


def _count(value: object, field: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_TXID:
        raise CursorFormatError(f"cursor field {field!r} must be a whole number, not {value!r}")
    return value


def _window(value: object, done: Snapshot) -> Window:
    fields = _fields(value, "cursor window", {"until", "position", "read_to"})
    until = _snapshot(fields["until"], "until")
    if not until.contains(done):
        raise CursorFormatError(f"cursor window until {until} does not contain done {done}")
    read_to = _count(fields["read_to"], "read_to")
    position = _position(fields["position"])
    if read_to >= until.xmax or (position is not None and position.txid > read_to):
        raise CursorFormatError(f"cursor window until {until} was not read to {read_to}")
    return Window(until, position, read_to)


def _position(value: object) -> Position | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 4 or not isinstance(value[0], str):
        raise CursorFormatError("cursor field 'position' must be [table, txid, seq, item]")
    return Position(value[0], *[_count(number, "position") for number in value[1:]])
