"""The shape of a source: it turns a cursor into a page and the cursor after it.

Contract, kept by the conformance suite:

* One page is read in one snapshot; its version is that snapshot's clock (in the given epoch).
* A key without a row is a delete action, any other an index action with the row of that snapshot.
* A source that was made for a `Share` gives the keys of that share in `poll` and `load`, and passes
  over the others as if they were read; all else is of the whole table.
* `poll` never assigns a transaction id; it changes nothing in the source.
* `prune` never deletes a row of the change log that a cursor that begins now, or a reader's entry,
  still wants; when it has nothing to note and nothing to delete it changes nothing.
* `Page.ready()` is asked on the connection that read the page.
* Raises SourceUnavailable when the server is away, PreconditionError when an operator has to act,
  Discontinuity when the cursor can not be followed any more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from txid_sync.cursor import Cursor
from txid_sync.model import Limits, LoadPage, LogView, Page, Reading, Schema
from txid_sync.snapshot import Snapshot


class Source(ABC):
    """Reads pages of changes, of a load, and of single keys."""

    @abstractmethod
    def connect(self) -> None:
        """Connect (again) and check what must hold before anything is read; idempotent."""

    def resume(self, identity: Mapping[str, str], place: int) -> None:  # noqa: B027
        """Go on from what was read before, by this identity and up to this place.

        Raises SourceBehind while a source of the same history has not come as far again.  A source
        that never goes back by itself has nothing to do.
        """

    @abstractmethod
    def identity(self) -> Mapping[str, str]:
        """Which server, database and history this is, as plain comparable texts."""

    @abstractmethod
    def describe(self) -> Mapping[str, Schema]:
        """The schema of every document, by the document's name."""

    @abstractmethod
    def begin(self) -> tuple[Cursor, int]:
        """A first cursor and its clock, safe to be stored: its snapshot has passed the gate."""

    @abstractmethod
    def clock(self) -> int:
        """The clock of a snapshot taken now."""

    @abstractmethod
    def poll(self, cursor: Cursor, epoch: int, limits: Limits) -> Reading:
        """The next page of the window after `cursor`, opening a window if there is news."""

    @abstractmethod
    def skim(self, cursor: Cursor, epoch: int, entries: int) -> tuple[Reading, Sequence[str]]:
        """As `poll` within an open window's table, but without documents: a page that is empty and
        has the gate of all that was seen, and the ids of as many entries, each once."""

    @abstractmethod
    def sample(self, cursor: Cursor) -> bool:
        """Whether keys seem to repeat in what is left of an open window's table, of all shares.

        Only a hint: a wrong answer costs speed, nothing else.
        """

    @abstractmethod
    def page_keys(self, document: str, limits: Limits) -> int:
        """How many documents a lookup should ask for, for a page within the limits."""

    @abstractmethod
    def load(
        self, document: str, after: tuple[str, ...] | None, epoch: int, limits: Limits
    ) -> LoadPage:
        """The rows of a document whose keys follow `after`, in the order of the key."""

    @abstractmethod
    def lookup(self, document: str, ids: Sequence[str], epoch: int) -> Page:
        """These documents as they are now: an index action each, a delete action if no row.

        An id that is no key of the table at all is answered with a delete action too.
        """

    @abstractmethod
    def prune(self, document: str, reader: str, wanted: int | None, batch: int) -> int:
        """Note that `reader` wants the rows of a document's change log from txid `wanted` on (None:
        as noted before, else from now on), and delete at most `batch` of those that no reader
        wants; gives how many.  An empty `reader` is nobody.

        Raises PreconditionError if that is not allowed, or not possible with this source.
        """

    @abstractmethod
    def forget(self, reader: str) -> None:
        """Hold no log rows for this reader any more; nothing happens if nobody knows it.

        Raises PreconditionError if that is not allowed, or not possible with this source.
        """

    @abstractmethod
    def log(self, document: str, ids: Sequence[str], done: Snapshot, limit: int) -> LogView:
        """The entries of a document's change log that `done` does not count, for these ids.

        Truncations are entries of every id.  The oldest `limit` log rows are looked at.
        """

    @abstractmethod
    def key_of(self, document: str, texts: Sequence[str]) -> tuple[str, ...]:
        """A key as the source itself writes it; raises UsageError if these texts are none."""

    @abstractmethod
    def mark(self, name: str, nonce: str) -> Mapping[str, str]:
        """Write a marker of this name, in place of the last one, and give the identity of where it
        was written; a history that holds it holds all that this identity has shown before.

        Raises PreconditionError if that is not allowed, or not possible with this source.
        """

    @abstractmethod
    def marker(self, name: str) -> tuple[Mapping[str, str], str]:
        """The identity, and the marker of this name in that history (empty: none)."""

    @abstractmethod
    def close(self) -> None:
        """End the connection; pages that are not ready yet never will be."""
