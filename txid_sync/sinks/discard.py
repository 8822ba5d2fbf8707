"""A sink that counts and throws away: for dry runs and for measuring a source alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future

from txid_sync.model import Ack, DeadLetter, Document, Held, Page, Schema
from txid_sync.sinks.base import IndexState, Sink


class DiscardSink(Sink):
    """Acknowledges everything at once; `documents` and `body_bytes` tell how much it was."""

    def __init__(self) -> None:
        self.documents = 0
        self.body_bytes = 0
        self.refused = 0
        self._names: Sequence[str] = ()

    def connect(self) -> None:
        """Nothing to do."""

    def prepare(
        self, documents: Sequence[Document], schemas: Mapping[str, Schema]
    ) -> Mapping[str, IndexState]:
        """Every index is there and always was."""
        self._names = [document.name for document in documents if document.name in schemas]
        return {name: IndexState(name, False) for name in self._names}

    def uuids(self) -> Mapping[str, str]:
        """The names."""
        return {name: name for name in self._names}

    def adopt(self, documents: Sequence[Document]) -> Mapping[str, str]:
        """Every index is there."""
        return {document.name: document.name for document in documents}

    def submit(self, page: Page) -> Future[Ack]:
        """Count a page."""
        self.documents += page.documents
        self.body_bytes += len(page.body)
        self.refused += len(page.dead)
        future: Future[Ack] = Future()
        future.set_result(Ack(page.documents, len(page.body), page.dead))
        return future

    def scan(self, document: str) -> Iterator[Sequence[tuple[str, int]]]:  # noqa: ARG002
        """Nothing is kept."""
        return iter(())

    def listing(
        self, document: str, place: str, limit: int  # noqa: ARG002
    ) -> tuple[Sequence[tuple[str, int]], str]:
        """Nothing is kept."""
        return (), ""

    def fetch(self, document: str, ids: Sequence[str]) -> Mapping[str, Held]:  # noqa: ARG002
        """Nothing is kept."""
        return {}

    def count(self, document: str) -> int:  # noqa: ARG002
        """Nothing is kept."""
        return 0

    def dead_letters(self, limit: int = 100) -> tuple[int, Sequence[DeadLetter]]:  # noqa: ARG002
        """How many the source refused; they are not kept."""
        return self.refused, ()

    def letters(
        self, document: str, ids: Sequence[str]  # noqa: ARG002
    ) -> Mapping[str, DeadLetter]:
        """Nothing is kept."""
        return {}

    def close(self) -> None:
        """Nothing to do."""
