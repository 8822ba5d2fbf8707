"""Every known way to get the algorithm wrong: the real source with one rule broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from txid_sync.cursor import Cursor, Position
from txid_sync.model import Limits, Page, Reading, StreamPage
from txid_sync.snapshot import Snapshot
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.memory_look import Entry, Look


class SnapshotAfterRows(MemorySource):
    """The snapshot that is kept is taken after the rows were read."""

    late_arguments: tuple[Position | None, bool, Sequence[str]] | None = None

    def _next(
        self,
        cursor: Cursor,
        until: Snapshot,
        last: Position | None,
        full: bool,
        rest: Sequence[str],
    ) -> Cursor:
        self.late_arguments = (last, full, tuple(rest))
        return super()._next(cursor, until, last, full, rest)

    def settle(
        self, cursor: Cursor, last: Position | None, full: bool, rest: Sequence[str]
    ) -> Cursor:
        """Called by the explorer once the page is sent."""
        return cursor.after(self.database.snapshot(), last, full, rest)


class LastPagesSnapshot(MemorySource):
    """The window closes with the snapshot of its last page."""

    _seen: Snapshot

    def _until(self, cursor: Cursor, look: Look) -> Snapshot:
        self._seen = look.snapshot
        return super()._until(cursor, look)

    def _next(
        self,
        cursor: Cursor,
        until: Snapshot,
        last: Position | None,
        full: bool,
        rest: Sequence[str],
    ) -> Cursor:
        opened = cursor.open(until)
        assert opened.window is not None
        if not full and not rest:
            opened = replace(opened, window=replace(opened.window, until=self._seen))
        return opened.after(until, last, full, rest)


class NoXipWhenReading(MemorySource):
    """The window is txid >= xmax alone."""

    def _wanted(self, txid: int, cursor: Cursor, until: Snapshot) -> bool:
        return cursor.done.xmax <= txid < until.xmax


class NoXipWhenClosing(MemorySource):
    """A closed window counts every txid below xmax."""

    def _next(
        self,
        cursor: Cursor,
        until: Snapshot,
        last: Position | None,
        full: bool,
        rest: Sequence[str],
    ) -> Cursor:
        return super()._next(cursor, Snapshot.of(until.xmax), last, full, rest)


class OrderedByKey(MemorySource):
    """The rows come in the order of the joined table, the position is still the last one's."""

    def _order(self, entries: list[Entry]) -> list[Entry]:
        return sorted(entries, key=lambda entry: entry.key or ())


class CountedAfterJoin(MemorySource):
    """A page is full if it has as many rows as were asked for; keys without a row do not count."""

    def _full(self, entries: Sequence[Entry], found: Sequence[Entry], _page: Page) -> bool:
        rows = _page.body.count(b'{"index":')
        return super()._full(entries, found, _page) and rows == len(entries)


class GreatestOfEachColumn(MemorySource):
    """The position is max(txid), max(seq), max(item) of the page."""

    def _position(self, entries: Sequence[Entry]) -> Position:
        places = [entry.position for entry in entries]
        return Position(
            places[-1].table,
            max(place.txid for place in places),
            max(place.seq for place in places),
            max(place.item for place in places),
        )


class IdleTextKept(MemorySource):
    """The text of the last idle poll outlives the connection."""

    def connect(self) -> None:
        """Connect, and keep what the last connection had seen."""
        old = self.connection
        super().connect()
        if old is not None and self.connection is not None:
            self.connection = replace(self.connection, idle=old.idle)


class NotRowBound(MemorySource):
    """A closed window counts everything that `until` shows as finished."""

    def _next(
        self,
        cursor: Cursor,
        until: Snapshot,
        last: Position | None,
        full: bool,
        rest: Sequence[str],
    ) -> Cursor:
        after = super()._next(cursor, until, last, full, rest)
        return after if after.window else Cursor.start(until)


class GateOnAnyConnection(MemorySource):
    """The flush position is asked on whatever connection there is now."""

    def _gate(self, look: Look) -> bool:
        alive = self.connection is not None and self.database.alive(self.connection.pid)
        return alive and self.database.flushed >= look.inserted


class NoGate(MemorySource):
    """Pages are sent as soon as they are read."""

    def _gate(self, look: Look) -> bool:
        return look is not None


class EmptyPollAdvances(MemorySource):
    """F24: a poll without news moves the cursor to its snapshot; idle polls have no gate."""

    beyond = 0

    def poll(self, cursor: Cursor, epoch: int, limits: Limits) -> Reading:
        """The real reading, or an empty page that moves the cursor."""
        reading = super().poll(cursor, epoch, limits)
        look = self._look()
        target = Cursor.start(Snapshot.of(look.snapshot.xmax + self.beyond, look.snapshot.xip))
        if reading.page is not None or cursor == target:
            return reading
        name = next(iter(self.documents))
        empty = replace(self._build(name, (), epoch, look), ready=_Passed(look))
        return replace(reading, page=StreamPage(empty, target))


class EmptyPollAdvancesBeyond(EmptyPollAdvances):
    """F24 as it happened: past the snapshot's xmax."""

    beyond = 1


class WindowRenewedAtRestart(MemorySource):
    """A restart goes on at the old position, but to a new snapshot."""

    def resumed(self, cursor: Cursor) -> Cursor:
        """Called by the explorer for the stored cursor."""
        if cursor.window is None:
            return cursor
        return replace(cursor, window=replace(cursor.window, until=self.database.snapshot()))


class UnacknowledgedPageCounts(MemorySource):
    """The stored cursor is that after the page in hand: it counts what was never sent."""

    stores_early = True


class _Passed:
    """A gate that is always open; keeps what the explorer looks at."""

    def __init__(self, look: Look) -> None:
        self.args = (look,)

    def __call__(self) -> bool:
        return True


ALL: tuple[type[MemorySource], ...] = (
    SnapshotAfterRows,
    LastPagesSnapshot,
    NoXipWhenReading,
    NoXipWhenClosing,
    OrderedByKey,
    CountedAfterJoin,
    GreatestOfEachColumn,
    IdleTextKept,
    NotRowBound,
    GateOnAnyConnection,
    NoGate,
    EmptyPollAdvances,
    EmptyPollAdvancesBeyond,
    WindowRenewedAtRestart,
    UnacknowledgedPageCounts,
)


