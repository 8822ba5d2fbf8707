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
4. Where nearly every key is still new after `ENOUGH_SEEN`, the rest of the window is read in
   plain pages.
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
ENOUGH_SEEN = 100_000
LEAST_GAIN = 0.05  # of the entries have to be of keys already seen
LONGER, SHORTER = 2, 16


@dataclass(frozen=True, slots=True)
class Backlog:
    """The skims of one window in one table; `pending` from `at` on is still to be looked up.

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
    pays: bool = True

    @classmethod
    def begun(cls, most: int, page: int) -> Backlog:
        """Nothing is listed yet."""
        return cls(most, page, min(most, _first(page)))

    def due(self, cursor: Cursor) -> bool:
        """Whether the next of the window is to be skimmed: a page was full, nothing is listed any
        more, a skim is longer than a page, and it pays."""
        at = cursor.position
        if at is None or at.txid == 0 or self.skimmed is not None or self.entries <= self.page:
            return False
        return self.pays or not self._is_of(cursor)

    def rewound(self) -> Backlog:
        """Everything under way is thrown away (rules 2 and 5)."""
        return Backlog(self.most, self.page, self.entries // SHORTER)

    def passed(self, closes: bool) -> Backlog:
        """A page of the stream is on its way; with `closes` it was a window's last (rule 6)."""
        longer = min(self.most, max(1, self.entries * LONGER))
        return replace(self, entries=min(longer, _first(self.page)) if closes else longer)

    def skim(self, cursor: Cursor, skimmed: StreamPage, ids: Sequence[str]) -> Backlog:
        """Take in a skim of `entries` entries that was made with this cursor (rules 2 to 4)."""
        assert cursor.window is not None
        seen = self.seen if self._is_of(cursor) else frozenset[str]()
        new = tuple(id for id in ids if id not in seen)
        if len(seen) + len(new) <= MAX_SEEN:
            seen = seen.union(new)
        gains = len(new) <= (1 - LEAST_GAIN) * self.entries
        return Backlog(
            self.most, self.page, self.entries, cursor.window.until, skimmed.page.document, seen,
            new, 0, skimmed, pays=gains or len(seen) < ENOUGH_SEEN,
        )  # fmt: skip

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

    def _is_of(self, cursor: Cursor) -> bool:
        window, at = cursor.window, cursor.position
        return (window and window.until, at and at.table) == (self.until, self.table)


def _first(page: int) -> int:
    """So many entries that they are two pages once a page has passed (rule 6)."""
    return max(1, 2 * page // LONGER)
