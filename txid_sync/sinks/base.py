"""The shape of a sink: it turns a page into an acknowledgement.

Contract, kept by the conformance suite:

* A write never replaces a document or a remembered delete of a higher version; an equal version is
  applied again.  A delete of a missing document is a success.
* The Ack of `submit` comes only when every action is applied, or kept as a dead letter.
* Items that were refused for now are sent again, and only they, until the page is older than the
  deadline; then the future raises PageExpired.  A failure after which nobody knows what was applied
  raises SinkUnavailable at once: the caller reads everything from this page on again.
* `submit` may be called again before earlier futures are done; the caller keeps them in order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from txid_sync.model import Ack, DeadLetter, Document, Held, Page, Schema


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index as `prepare` left it: its uuid, and whether it was made just now (so is empty)."""

    uuid: str
    created: bool


class Sink(ABC):
    """Applies pages to indices; every document (in the sense of model.Document) has one index."""

    @abstractmethod
    def connect(self) -> None:
        """Check that the sink answers and may be written; raises SinkUnavailable or Stop."""

    @abstractmethod
    def prepare(
        self, documents: Sequence[Document], schemas: Mapping[str, Schema]
    ) -> Mapping[str, IndexState]:
        """Create the indices that are missing, adopt the others as they are; by document name."""

    @abstractmethod
    def uuids(self) -> Mapping[str, str]:
        """The uuid of every prepared document's index now; an index that is gone is left out."""

    @abstractmethod
    def adopt(self, documents: Sequence[Document]) -> Mapping[str, str]:
        """Use the indices that are there as they are, changing nothing: the uuid of each."""

    def load_begins(self, document: str) -> None:  # noqa: B027
        """A long load into an index that was made for it has begun; may be said several times.

        What is written need not be visible soon.  Raises SinkUnavailable.
        """

    def load_ends(self, document: str) -> None:  # noqa: B027
        """A load is about to end, whoever began it.

        From now on all becomes visible as soon as ever.  Raises SinkUnavailable.
        """

    @abstractmethod
    def submit(self, page: Page) -> Future[Ack]:
        """Send a page; the future gives its Ack or raises Unavailable or Stop."""

    @abstractmethod
    def scan(self, document: str) -> Iterator[Sequence[tuple[str, int]]]:
        """All live (id, version) of an index, in chunks, after making all writes visible."""

    @abstractmethod
    def listing(
        self, document: str, place: str, limit: int
    ) -> tuple[Sequence[tuple[str, int]], str]:
        """Some live (id, version) of an index from a place on, and the place to go on from.

        The first place is "", and so is the one after the end.  Nothing is held open in between.
        A document that is live and not written to from the first call to the last is met.
        """

    @abstractmethod
    def fetch(self, document: str, ids: Sequence[str]) -> Mapping[str, Held]:
        """These documents as they are now, whatever was made visible; missing ones are left out."""

    @abstractmethod
    def count(self, document: str) -> int:
        """How many live documents the index holds, all writes made visible."""

    @abstractmethod
    def dead_letters(self, limit: int = 100) -> tuple[int, Sequence[DeadLetter]]:
        """How many dead letters are kept, and the first of them."""

    @abstractmethod
    def letters(self, document: str, ids: Sequence[str]) -> Mapping[str, DeadLetter]:
        """The dead letters that are kept for these ids now."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections; requests in flight may be abandoned."""
