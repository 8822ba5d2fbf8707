"""A sink in memory, for tests and for trying out: same contract, same bytes, faults on demand.

Faults are asked for once per page, from `faults(page)`; so they are as deterministic as whoever
answers.  With `hold` every page waits until `release` applies it, in any order; pages whose answer
was lost *before* they arrived (`Fault.LATE`) wait in `late` until `arrive` applies them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, auto

from txid_sync.errors import Discontinuity, PageExpired, PreconditionError, SinkUnavailable
from txid_sync.model import MAX_ID_BYTES, Ack, DeadLetter, Document, Held, Page, Schema
from txid_sync.sinks.base import IndexState, Sink
from txid_sync.sinks.bulk import Action, actions_of

_SCAN_CHUNK = 100


class Fault(Enum):
    """What goes wrong with one page."""

    REFUSED = auto()  # SinkUnavailable, and nothing is applied
    LATE = auto()  # SinkUnavailable, and it is applied when `arrive` says so
    HALF = auto()  # SinkUnavailable after the first half of the actions
    LOST = auto()  # SinkUnavailable, but everything is applied
    EXPIRED = auto()  # PageExpired, and nothing is applied
    RETRIED = auto()  # applied at the second attempt


Faults = Callable[[Page], Fault | None]
Refuse = Callable[[str, str, bytes], str]


@dataclass(slots=True)
class MemoryIndex:
    """Live documents and remembered deletes, by id; a document is (version, its bytes)."""

    uuid: str
    documents: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    tombstones: dict[str, int] = field(default_factory=dict)

    def write(self, document_id: str, version: int, source: bytes | None) -> int:
        """Index, or delete if source is None; gives the higher version that stands, or 0."""
        live = self.documents.get(document_id)
        current = live[0] if live else self.tombstones.get(document_id, -1)
        if current > version:
            return current
        if source is None:
            self.documents.pop(document_id, None)
            self.tombstones[document_id] = version
        else:
            self.tombstones.pop(document_id, None)
            self.documents[document_id] = (version, source)
        return 0


class MemorySink(Sink):
    """Indices in memory; `refuse(document, id, source)` gives a reason for dead letters, or ''."""

    def __init__(
        self, faults: Faults | None = None, hold: bool = False, refuse: Refuse | None = None
    ) -> None:
        self.indices: dict[str, MemoryIndex] = {}
        self.held: list[tuple[Page, Future[Ack]]] = []
        self.late: list[Page] = []
        self.submitted = 0
        self._faults = faults
        self._hold = hold
        self._refuse = refuse
        self._dead: dict[tuple[str, str], DeadLetter] = {}
        self._prepared: list[str] = []
        self._made = 0
        self._closed = False

    # -- the contract ---------------------------------------------------------------------------

    def connect(self) -> None:
        """Nothing to connect to; opens a closed sink again."""
        self._closed = False

    def prepare(
        self, documents: Sequence[Document], schemas: Mapping[str, Schema]
    ) -> Mapping[str, IndexState]:
        """Create the missing indices."""
        self._prepared = [document.name for document in documents]
        missing = [n for n in self._prepared if n in schemas and n not in self.indices]
        for name in missing:
            self._made += 1
            self.indices[name] = MemoryIndex(f"uuid-{self._made}")
        return {
            name: IndexState(self.indices[name].uuid, name in missing) for name in self._prepared
        }

    def uuids(self) -> Mapping[str, str]:
        """The uuids of the prepared indices that are still there."""
        return {n: self.indices[n].uuid for n in self._prepared if n in self.indices}

    def adopt(self, documents: Sequence[Document]) -> Mapping[str, str]:
        """Use the indices that are there."""
        self._prepared = [document.name for document in documents]
        return self.uuids()

    def submit(self, page: Page) -> Future[Ack]:
        """Apply a page at once, or keep it until `release`."""
        future: Future[Ack] = Future()
        self.submitted += 1
        if self._closed:
            future.set_exception(SinkUnavailable("the sink is closed"))
        elif self._hold:
            self.held.append((page, future))
        else:
            self._answer(page, future)
        return future

    def scan(self, document: str) -> Iterator[Sequence[tuple[str, int]]]:
        """All live (id, version), in chunks."""
        live = [(i, version) for i, (version, _) in self._index(document).documents.items()]
        for at in range(0, len(live), _SCAN_CHUNK):
            yield live[at : at + _SCAN_CHUNK]

    def listing(
        self, document: str, place: str, limit: int
    ) -> tuple[Sequence[tuple[str, int]], str]:
        """In the order of the ids; the place is the last id that was given."""
        live = self._index(document).documents
        ids = sorted(id for id in live if id > place)
        chosen = ids[:limit]
        return [(id, live[id][0]) for id in chosen], chosen[-1] if len(ids) > limit else ""

    def fetch(self, document: str, ids: Sequence[str]) -> Mapping[str, Held]:
        """These documents."""
        live = self._index(document).documents
        return {id: Held(*live[id]) for id in ids if id in live}

    def count(self, document: str) -> int:
        """How many documents are live."""
        return len(self._index(document).documents)

    def dead_letters(self, limit: int = 100) -> tuple[int, Sequence[DeadLetter]]:
        """The dead letters, oldest first."""
        return len(self._dead), list(self._dead.values())[:limit]

    def letters(self, document: str, ids: Sequence[str]) -> Mapping[str, DeadLetter]:
        """Their dead letters."""
        return {id: self._dead[document, id] for id in ids if (document, id) in self._dead}

    def close(self) -> None:
        """Refuse everything until the next connect; what is held is abandoned."""
        self._closed = True
        for _, future in self.held:
            future.set_exception(SinkUnavailable("the sink was closed"))
        self.held.clear()

    # -- handles for tests ----------------------------------------------------------------------

    def documents(self, document: str) -> dict[str, bytes]:
        """The live documents of an index: the bytes of each, by id."""
        return {i: source for i, (_, source) in self._index(document).documents.items()}

    def release(self, place: int = 0) -> None:
        """Apply the held page at this place in the queue and resolve its future."""
        page, future = self.held.pop(place)
        self._answer(page, future)

    def arrive(self, place: int = 0) -> None:
        """Apply a page that was given up by its sender; nobody hears of it."""
        self._apply(self.late.pop(place))

    def forget_tombstones(self) -> None:
        """Forget all deletes, as a restarted node does."""
        for index in self.indices.values():
            index.tombstones.clear()

    def drop_index(self, document: str) -> None:
        """Delete an index with all that it holds."""
        del self.indices[document]

    # -- how it works ---------------------------------------------------------------------------

    def _answer(self, page: Page, future: Future[Ack]) -> None:
        try:
            future.set_result(self._serve(page))
        except (SinkUnavailable, PageExpired, Discontinuity, PreconditionError) as error:
            future.set_exception(error)

    def _serve(self, page: Page) -> Ack:
        if page.document not in self._prepared:
            raise PreconditionError(f"index {page.document} was not prepared")
        fault = self._faults(page) if self._faults else None
        if fault is Fault.EXPIRED:
            raise PageExpired(f"a page of {page.document} waited too long")
        if fault is Fault.LATE:
            self.late.append(page)
        elif fault is Fault.HALF:
            self._apply(page, page.documents // 2)
        elif fault is not Fault.REFUSED:
            ack = self._apply(page, retried=fault is Fault.RETRIED)
            if fault is not Fault.LOST:
                return ack
        raise SinkUnavailable("the sink does not answer")

    def _apply(self, page: Page, most: int | None = None, retried: bool = False) -> Ack:
        index = self._index(page.document)
        dead, conflict = [], 0
        for action in list(actions_of(page.body))[:most]:
            reason = self._reason(page, action)
            if reason:
                dead.append(DeadLetter(page.document, action.id, page.version, reason))
                continue
            version, source = _parsed(action)
            conflict = max(conflict, index.write(action.id, version, source))
            self._dead.pop((page.document, action.id), None)
        if most is None:
            dead = [*page.dead, *dead]
        for letter in dead:
            self._dead[letter.document, letter.id] = letter
        return Ack(page.documents, len(page.body), tuple(dead), conflict, retried)

    def _reason(self, page: Page, action: Action) -> str:
        if len(action.id.encode()) > MAX_ID_BYTES:
            return f"the id has more than {MAX_ID_BYTES} bytes"
        _, source = _parsed(action)
        if self._refuse is None or source is None:
            return ""
        return self._refuse(page.document, action.id, source)

    def _index(self, document: str) -> MemoryIndex:
        try:
            return self.indices[document]
        except KeyError:
            raise Discontinuity(f"index {document} is gone", document=document) from None


def _parsed(action: Action) -> tuple[int, bytes | None]:
    """Version and document of an action; raises ValueError for anything a page can not hold."""
    head, _, source = action.data.rstrip(b"\n").partition(b"\n")
    fields = json.loads(head)[action.operation]
    if set(fields) != {"_id", "version", "version_type"}:
        raise ValueError(f"an action has the fields {sorted(fields)}")
    if fields["version_type"] != "external_gte" or action.operation not in ("index", "delete"):
        raise ValueError(f"{action.operation} with version type {fields['version_type']}")
    if action.operation == "delete":
        return fields["version"], None
    if not isinstance(json.loads(source), dict):
        raise ValueError("a document is no object")  # noqa: TRY004
    return fields["version"], source
