"""The distinct keys of a long window: each is written once, however often it changed.

A page that was full tells that more of the window waits than a page can hold.  Then the ids of very
many entries are listed at a time (a **skim**: no documents), and only those that were not listed
before in this window are looked up.

Theory
------
Every lookup is read in a snapshot no older than the window's first one, so it sees all of the
window's finished transactions, and has all that any entry of its key in this window stands for.
A key that was looked up once need not be looked up for a later entry of the same window.

Rules
-----
1. The place of a skim counts once the pages of all its ids are acknowledged: it is sent last, as a
   page of its own without documents, behind the skim's own gate.
2. What was seen counts within one window and one table, and only while nothing is thrown away:
   another window, or a rewind, begins anew.
3. At most `MAX_SEEN` ids are remembered; a key that is forgotten is written once more.
4. Where all keys are different, listing them is for nothing: before the first skim of a window in
   a table the source takes a sample, and if no key repeats in it, the rest is read in plain pages.
   The sample is a hint: a wrong one costs speed, nothing else, so it outlives a rewind.
5. A rewind throws a whole skim away.  So the next ones are shorter, down to plain pages, and longer
   again with every page that passes: whatever the sink lets through counts in the end.
6. The first skim of a window is two pages long, and each one longer than the one before: while keys
   are listed, the sink has pages to work on.

No I/O, no clock of the wall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from txid_sync.cursor import Cursor
from txid_sync.model import StreamPage
from txid_sync.snapshot import Snapshot

MAX_SEEN = 200_000
LONGER, SHORTER = 2, 16


@dataclass(frozen=True, slots=True)
class Backlog:
    """The skims of one window in one table; `pending` from `at` on is still to be looked up.

    `repeats` is what the sample of that window and table has told.

    `most` is how many entries a skim may have at the most, `page` how many a page has, `entries`
    how many the next skim may have.
    """

    most: int = 0
    page: int = 0
    entries: int = 0
    until: Snapshot | None = None
    table: str = ""
    seen: frozenset[str] = frozenset()
    pending: tuple[str, ...] = ()
    at: int = 0
    skimmed: StreamPage | None = None
    repeats: bool = False

    @classmethod
    def begun(cls, most: int, page: int) -> Backlog:
        """Nothing is listed yet."""
        return cls(most, page, min(most, _first(page)))

    def due(self, cursor: Cursor) -> bool:
        """Whether the next of the window is to be skimmed: a page was full, nothing is listed any
        more, a skim is longer than a page, and keys repeat there."""
        return self._may_skim(cursor) and self._is_of(cursor) and self.repeats

    def unknown(self, cursor: Cursor) -> bool:
        """Whether a sample has to tell first if keys repeat there (rule 4)."""
        return self._may_skim(cursor) and not self._is_of(cursor)

    def sampled(self, cursor: Cursor, repeats: bool) -> Backlog:
        """Take in the sample of a window's table, of which nothing was seen yet (rule 2)."""
        window, at = cursor.window, cursor.position
        assert window is not None
        assert at is not None
        seen: frozenset[str] = frozenset()
        return replace(self, until=window.until, table=at.table, seen=seen, repeats=repeats)

    def rewound(self) -> Backlog:
        """Everything under way is thrown away, but not the sample (rules 2, 4 and 5)."""
        shorter = self.entries // SHORTER
        return replace(self.ended(), entries=shorter, seen=frozenset())

    def passed(self, closes: bool) -> Backlog:
        """A page of the stream is on its way; with `closes` it was a window's last (rule 6)."""
        longer = min(self.most, max(1, self.entries * LONGER))
        return replace(self, entries=min(longer, _first(self.page)) if closes else longer)

    def skim(self, skimmed: StreamPage, ids: Sequence[str]) -> Backlog:
        """Take in a skim that was due (rule 3)."""
        seen = self.seen
        new = tuple(id for id in ids if id not in seen)
        if len(seen) + len(new) <= MAX_SEEN:
            seen = seen.union(new)
        return replace(self, seen=seen, pending=new, at=0, skimmed=skimmed)

    @property
    def left(self) -> bool:
        """Whether ids are left to look up; if not, `skimmed` itself is to be sent (rule 1)."""
        return self.at < len(self.pending)

    def next(self, keys: int) -> Sequence[str]:
        """The next ids to look up."""
        return self.pending[self.at : self.at + keys]

    def sent(self, keys: int) -> Backlog:
        """So many ids are on their way."""
        return replace(self, at=self.at + keys)

    def ended(self) -> Backlog:
        """The skim itself is on its way."""
        return replace(self, pending=(), at=0, skimmed=None)

    def _may_skim(self, cursor: Cursor) -> bool:
        at = cursor.position
        full = at is not None and at.txid > 0
        return full and self.skimmed is None and self.entries > self.page

    def _is_of(self, cursor: Cursor) -> bool:
        window, at = cursor.window, cursor.position
        return (window and window.until, at and at.table) == (self.until, self.table)


def _first(page: int) -> int:
    """So many entries that they are two pages once a page has passed (rule 6)."""
    return max(1, 2 * page // LONGER)
