"""The real source, sink and store in memory, with a hook before each of their effects.

Nothing of what they do is changed.  A hook (`Hook`) lets the environment act between two effects of
a pipeline; and what has to be put back when the search goes on elsewhere (answers to come, a scan
under way) is kept as plain values.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from tests.skimmed import SkimmedSource
from txid_sync.errors import Discontinuity, TxidSyncError
from txid_sync.model import Ack, DeadLetter, Document, Held, Page, Schema
from txid_sync.progress.base import Fence, Progress
from txid_sync.progress.memory import MemoryProgress, SaveFault
from txid_sync.sinks.base import IndexState
from txid_sync.sinks.memory import Fault, MemoryIndex, MemorySink
from txid_sync.sources.memory_look import Look
from txid_sync.sweep import candidates

Hook = Callable[[str], None]
ChooseFault = Callable[[Page, bool], Fault | None]


class ModelSource(SkimmedSource):
    """A source whose statements, and questions to the gate, pass the hook."""

    hook: Hook

    def _look(self) -> Look:
        self.hook("source")
        return super()._look()

    def _gate(self, look: Look) -> bool:
        self.hook("gate")
        return super()._gate(look)


@dataclass(frozen=True, slots=True)
class Sent:
    """A page that the sink has not answered; `again`: it was refused once already."""

    page: Page
    owner: int
    again: bool = False


class Answer:
    """The answer to a page, as a future whose state lies in the sink."""

    def __init__(self, sink: ModelSink, ticket: int) -> None:
        self._sink, self.ticket = sink, ticket

    @property
    def outcome(self) -> Ack | TxidSyncError | None:
        """What came of it; None: nothing yet."""
        return self._sink.outcomes.get(self.ticket)

    def done(self) -> bool:
        """Whether the answer has come."""
        return self.outcome is not None

    def result(self) -> Ack:
        """Wait for it; an error is a fresh one each time, so that none grows tracebacks."""
        if not self.done():
            self._sink.settle(self.ticket)
        outcome = self.outcome
        if isinstance(outcome, Ack):
            return outcome
        assert outcome is not None
        raise copy.copy(outcome)

    def exception(self) -> None:
        """Wait for it."""
        if not self.done():
            self._sink.settle(self.ticket)

    def cancel(self) -> bool:
        """A page under way cannot be called back."""
        return False


Frozen = tuple[Any, ...]


class ModelSink(MemorySink):
    """A sink whose faults are chosen; with `holds` pages wait until somebody needs the answer."""

    def __init__(self, hook: Hook, choose: ChooseFault, holds: bool) -> None:
        super().__init__(lambda page: self._chosen)
        self.hook, self._choose, self._holds = hook, choose, holds
        self._chosen: Fault | None = None
        self.sender = 0
        self.sent: dict[int, Sent] = {}
        self.outcomes: dict[int, Ack | TxidSyncError] = {}
        self.written: Callable[[str, str, tuple[int, bytes | None]], None] | None = None
        self.coming: Callable[[Page], None] | None = None

    def submit(self, page: Page) -> Any:
        """Take a page; apply it at once unless pages are held."""
        self.hook("submit")
        if self.coming is not None:
            self.coming(page)
        ticket = max(self.sent.keys() | self.outcomes.keys(), default=0) + 1
        self.sent[ticket] = Sent(page, self.sender)
        if not self._holds:
            self.settle(ticket)
        return Answer(self, ticket)

    def settle(self, ticket: int) -> None:
        """Apply a page, or whatever goes wrong with it."""
        sent = self.sent.pop(ticket)
        self._chosen = self._choose(sent.page, sent.again)
        try:
            self.outcomes[ticket] = self._serve(sent.page)
        except TxidSyncError as error:
            self.outcomes[ticket] = error.with_traceback(None)

    def deliver(self, page: Page) -> None:
        """Apply a page whose sender does not hear of it."""
        if page.document in self.indices:
            self._apply(page)

    def forget_answers(self, wanted: set[int]) -> None:
        """Drop the answers that nobody will ask for."""
        self.outcomes = {t: outcome for t, outcome in self.outcomes.items() if t in wanted}

    def prepare(
        self, documents: Sequence[Document], schemas: Mapping[str, Schema]
    ) -> Mapping[str, IndexState]:
        """Create the missing indices."""
        self.hook("prepare")
        return super().prepare(documents, schemas)

    def uuids(self) -> Mapping[str, str]:
        """The uuids of the indices."""
        self.hook("sink")
        return super().uuids()

    def scan(self, document: str) -> Iterator[Sequence[tuple[str, int]]]:
        """All live (id, version), as of now."""
        self.hook("sink")
        return iter(list(super().scan(document)))

    def fetch(self, document: str, ids: Sequence[str]) -> Mapping[str, Held]:
        """These documents."""
        self.hook("sink")
        return super().fetch(document, ids)

    def letters(self, document: str, ids: Sequence[str]) -> Mapping[str, DeadLetter]:
        """Their dead letters."""
        self.hook("sink")
        return super().letters(document, ids)

    def content_of(self, document: str, id: str) -> tuple[int, bytes | None] | None:
        """Version and bytes of a document, or of a remembered delete."""
        index = self.indices.get(document)
        if index is None:
            return None
        live = index.documents.get(id)
        if live is not None:
            return live
        return (index.tombstones[id], None) if id in index.tombstones else None

    def _apply(self, page: Page, most: int | None = None, retried: bool = False) -> Ack:
        index = self.indices.get(page.document)
        if index is None:
            raise Discontinuity(f"index {page.document} is gone", document=page.document)
        known = index.documents | index.tombstones
        before = {id: self.content_of(page.document, id) for id in known}
        ack = super()._apply(page, most, retried)
        for id, old in before.items():
            new = self.content_of(page.document, id)
            if new != old and old is not None and new is not None and self.written is not None:
                self.written(page.document, id, old)
        return ack

    def freeze(self) -> Frozen:
        """All state, as values."""
        indices = {
            name: (index.uuid, dict(index.documents), dict(index.tombstones))
            for name, index in self.indices.items()
        }
        return indices, tuple(self.late), self._made, dict(self.sent), dict(self.outcomes)

    def thaw(self, frozen: Frozen) -> None:
        """Be as then."""
        indices, late, self._made, sent, outcomes = frozen
        self.indices = {
            name: MemoryIndex(uuid, dict(documents), dict(tombstones))
            for name, (uuid, documents, tombstones) in indices.items()
        }
        self.late, self.sent, self.outcomes = list(late), dict(sent), dict(outcomes)


class ModelStore(MemoryProgress):
    """One instance's handle on the store."""

    def __init__(
        self, shared: MemoryProgress, hook: Hook, fault: Callable[[], SaveFault | None]
    ) -> None:
        super().__init__(lambda pipeline: fault())
        self._stored, self._last, self._notes = shared._stored, shared._last, shared._notes
        self.hook = hook
        self.saved: Callable[[str, str], None] | None = None

    def load(self, pipeline: str) -> tuple[Progress, Fence] | None:
        """Read what is stored."""
        self.hook("store")
        return super().load(pipeline)

    def save(self, pipeline: str, progress: Progress, fence: Fence | None) -> Fence:
        """Store it."""
        self.hook("save")
        before = self._stored.get(pipeline, ("",))[0]
        try:
            return super().save(pipeline, progress, fence)
        finally:
            if self.saved is not None:
                self.saved(before, self._stored.get(pipeline, ("",))[0])


class Chunks:
    """The real `candidates`, at a place that can be kept: it is run again over what it was told."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.told: list[Any] = []
        self.taken = 0
        self._running: Iterator[Sequence[str]] | None = None

    def __iter__(self) -> Iterator[Sequence[str]]:
        return self

    def __next__(self) -> Sequence[str]:
        if self._running is None:
            sink, document, below, brake, check, share, gone = self.arguments
            retold = _Retold(sink, self.told)
            self._running = candidates(
                cast("MemorySink", retold), document, below, brake,
                lambda version: None if retold.behind else check(version), share,
                lambda ids: retold.tell(lambda: gone(ids)),
            )  # fmt: skip
            for _ in range(self.taken):
                next(self._running)
        self.taken += 1
        return next(self._running)

    def freeze(self) -> Frozen:
        """What it was told, and how far it has come."""
        return self.arguments, tuple(self.told), self.taken

    @classmethod
    def thawed(cls, frozen: Frozen) -> Self:
        """The same again."""
        arguments, told, taken = frozen
        chunks = cls(*arguments)
        chunks.told, chunks.taken = list(told), taken
        return chunks


class _Retold:
    """A sink that first repeats its answers, then asks the real one and notes what it says."""

    def __init__(self, sink: MemorySink, told: list[Any]) -> None:
        self._sink, self._told = sink, told
        self._old = list(told)
        self.behind = False

    def tell(self, ask: Callable[[], Any]) -> Any:
        """The answer, or what it was."""
        self.behind = bool(self._old)
        if self._old:
            return self._old.pop(0)
        self._told.append(ask())
        return self._told[-1]

    def count(self, document: str) -> int:
        """The sink's answer, or what it was."""
        return cast("int", self.tell(lambda: self._sink.count(document)))

    def scan(self, document: str) -> Iterator[Sequence[tuple[str, int]]]:
        """The same; an index of a model has one chunk."""
        chunks = self.tell(lambda: tuple(map(tuple, self._sink.scan(document))))
        yield from chunks
