"""How many keys to ask for: learnt from the pages read so far, bounded by the limits.

The bytes of a page are not known before it is built, and cutting it in SQL would build all of its
documents first; so the number of keys adapts to the size of the documents seen.

>>> size = PageSize()
>>> size.within(Limits(documents=2000, body_bytes=1_000_000))
10
>>> size.learn(documents=10, body_bytes=10_000); size.within(Limits(2000, 1_000_000))
100
>>> size.learn(documents=40, body_bytes=4_000_000); size.within(Limits(2000, 1_000_000))
10
>>> size.shrink(10); size.within(Limits(2000, 1_000_000))
5
"""

from __future__ import annotations

from txid_sync.model import Limits

FIRST = 10
GROWTH = 10


class PageSize:
    """The number of keys of a document's next page."""

    def __init__(self) -> None:
        self._keys = FIRST
        self._document_bytes = 0.0

    def within(self, limits: Limits) -> int:
        """Keys to ask for now, at least one."""
        keys = min(self._keys, limits.documents)
        if self._document_bytes:
            keys = min(keys, int(limits.body_bytes / self._document_bytes))
        return max(1, keys)

    def learn(self, documents: int, body_bytes: int) -> None:
        """Take in a page that was built."""
        if documents:
            self._document_bytes = max(1.0, body_bytes / documents)
        self._keys = min(self._keys * GROWTH, 100_000)

    def shrink(self, keys: int) -> None:
        """A page of so many keys took too long or cannot be built: ask for half as many."""
        self._keys = max(1, keys // 2)
