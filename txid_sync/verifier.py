"""Walks over rows and indices and settles what differs; the rules are those of verify.py.

One step is a page of rows, a page of the index, or a look at suspects; in between a caller waits
as long as the step says.  What has been found is noted beside the progress of the pipeline, so
that another process goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from txid_sync import continuity, verify
from txid_sync.errors import Discontinuity
from txid_sync.failpoints import Failpoint, ignore
from txid_sync.inflight import wait_for_gate
from txid_sync.model import Document, Held, Limits, Page
from txid_sync.progress.base import REPAIR, Progress, ProgressStore, fresh_nonce
from txid_sync.share import Share
from txid_sync.shares import stored_of, stored_shares
from txid_sync.sinks.base import Sink
from txid_sync.sources.base import Source
from txid_sync.verify import Evidence, Verdict
from txid_sync.verify_state import DIFFERENT, Note, Pass

log = logging.getLogger("txid_sync")

MAX_SUSPECTS = 1000
CHUNK = 100
FIRST_DOCUMENTS = 16  # of a document's first page, whose rows may be large
LOG_ROWS = 50_000
WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How to verify; `rate` is documents per second (0: no limit), times are in seconds.

    A suspect is looked at again with growing pauses; when these make `settle_seconds` it counts as
    unsettled.
    """

    limits: Limits = field(default_factory=Limits)
    rate: float = 0.0
    repair: bool = False
    settle_seconds: float = 30.0
    first_pause_seconds: float = 0.25
    longest_pause_seconds: float = 5.0
    save_seconds: float = 2.0
    gate_seconds: float = 60.0


@dataclass(slots=True)
class _Suspect:
    """A document that differs; when to look at it again, and how long it was waited for."""

    id: str
    due_seconds: float = 0.0
    pause_seconds: float = 0.0
    waited_seconds: float = 0.0


class Verifier:
    """One pass after the other; drive it by `step` until it gives None."""

    def __init__(
        self,
        name: str,
        source: Source,
        sink: Sink,
        store: ProgressStore,
        documents: Sequence[Document],
        options: VerifyOptions | None = None,
        note: str = "verify",
        failpoint: Failpoint = ignore,
        seconds: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._name, self._note_name = name, note
        self._source, self._sink, self._store = source, sink, store
        self._documents = {document.name: document for document in documents}
        self.options = options or VerifyOptions()
        self._failpoint, self._seconds, self._now = failpoint, seconds, now
        self._note: Note | None = None
        self._suspects: dict[str, _Suspect] = {}
        self._page_documents = FIRST_DOCUMENTS
        self._saved_at = self._read_due_seconds = 0.0
        self._connected = False
        self.seen: Mapping[Share, Progress | None] = {}
        self._workers = 1
        self.hindrance = ""  # why nothing can be settled now; `seen` is the progress looked at

    # -- the pass -----------------------------------------------------------------------------

    @property
    def pass_(self) -> Pass:
        """The pass under way, or the one that has just ended."""
        assert self._note is not None, "no step was made"
        found = self._note.current or self._note.last
        assert found is not None
        return found

    @property
    def divergence(self) -> int | None:
        """Differences that were found and not repaired: in the last pass, or so far in this one."""
        if self._note is None:
            return None
        passes = [p for p in (self._note.last, self._note.current) if p is not None]
        known = self._note.last is not None or any(p.left for p in passes)
        return max(p.left for p in passes) if known else None

    def begin(self, restart: bool = False) -> bool:
        """Begin a pass, or go on with one that was broken off; True if it goes on."""
        note = Note.from_json(self._store.recall(self._name, self._note_name))
        settings = self._settings()
        goes_on = not restart and note.current is not None and note.current.settings == settings
        if not goes_on:
            note.current = Pass(list(self._documents), self._now(), settings=settings)
        assert note.current is not None
        self._note = note
        self._suspects = {id: _Suspect(id) for id in note.current.suspects}
        self._page_documents = FIRST_DOCUMENTS
        return goes_on

    def spread(self, seconds: float) -> None:
        """Let a whole pass, over rows and index, take about this long."""
        self._sink.connect()
        found = self._sink.adopt(list(self._documents.values()))
        total = sum(2 * self._sink.count(name) for name in found)
        self.options = replace(self.options, rate=total / seconds)

    def _settings(self) -> str:
        """What the findings of a pass depend on."""
        value = [[d.name, continuity.definition(d)] for d in self._documents.values()]
        return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]

    @property
    def _current(self) -> Pass:
        assert self._note is not None
        assert self._note.current is not None
        return self._note.current

    def step(self) -> float | None:
        """Do one thing; gives how long to wait before the next, None at the end of the pass.

        Raises Unavailable (wait, go on) or Stop.
        """
        if self._note is None:
            self.begin()
        name = self._current.document
        if name is None:
            self._finish()
            return None
        try:
            pause = self._step(self._documents[name])
        except Discontinuity as error:
            pause = self._hindered(error.message)
        if self._seconds() - self._saved_at >= self.options.save_seconds:
            self._save()
        return pause

    def _step(self, document: Document) -> float:
        self._source.connect()
        if not self._connected:
            self._sink.connect()
            self._connected = True
        if due := self._due():
            return self._settle(document, due)
        progress = self._progress(document)
        if progress is None:
            return WAIT_SECONDS
        reads = len(self._suspects) < MAX_SUSPECTS and self._current.stage != "suspects"
        if reads and self._seconds() >= self._read_due_seconds:
            begun = self._seconds()
            compared = self._read(document, progress)
            rate = self.options.rate
            self._read_due_seconds = begun + compared / rate if rate else 0.0
            return WAIT_SECONDS if self.hindrance else 0.0
        if reads or self._suspects:
            times = [suspect.due_seconds for suspect in self._suspects.values()]
            next_seconds = min([*times, self._read_due_seconds] if reads else times)
            return max(0.0, next_seconds - self._seconds())
        self._report(document)
        self._current.next_document()
        self._page_documents = FIRST_DOCUMENTS
        return 0.0

    def _progress(self, document: Document) -> Progress | None:
        """Stored progress, if it lets this document be verified; else the hindrance is noted."""
        self.seen = shares = stored_shares(self._store, self._name)
        self._workers = len(shares) or 1
        found: list[Progress | None] = [*shares.values()] or [None]
        reasons = [verify.hindrance(progress, document, None) for progress in found]
        self._hindered(next((reason for reason in reasons if reason), ""))
        return None if self.hindrance else found[0]

    def _hindered(self, reason: str) -> float:
        """Note why nothing can be settled now, and say it once."""
        if reason and reason != self.hindrance:
            log.info("verify waits: %s", reason, extra={"action": "verify"})
        self.hindrance = reason
        return WAIT_SECONDS

    # -- reading ------------------------------------------------------------------------------

    def _read(self, document: Document, progress: Progress) -> int:
        """Compare one page; gives how many documents."""
        if self._current.stage == "rows":
            return self._read_rows(document, progress)
        return self._read_index(document, progress)

    def _limits(self) -> Limits:
        """At most a second's worth, and at first few."""
        most = min(self.options.limits.documents, self._page_documents)
        if self.options.rate:
            most = min(most, max(1, int(self.options.rate)))
        return Limits(most, self.options.limits.body_bytes)

    def _learn(self, documents: int, body_bytes: int) -> None:
        """How many to ask for next, so that a page has about the wanted bytes."""
        size = max(1.0, body_bytes / max(1, documents))
        fits = int(self.options.limits.body_bytes / size)
        self._page_documents = max(1, min(2 * self._page_documents, fits, 100_000))

    def _read_rows(self, document: Document, progress: Progress) -> int:
        current = self._current
        after = None if current.after is None else tuple(current.after)
        loaded = self._source.load(document.name, after, progress.epoch, self._limits())
        self._hindered(verify.hindrance_of_page(progress, document, loaded.page))
        if self.hindrance:
            return 0
        rows = verify.rows_of(loaded.page)
        self._learn(len(rows), len(loaded.page.body))
        held = self._sink.fetch(document.name, list(rows))
        different = [id for id, row in rows.items() if not verify.same(row, held.get(id))]
        self._suspect([*different, *(letter.id for letter in loaded.page.dead)])
        current.found.rows += loaded.page.read_documents
        current.after = None if loaded.next is None else list(loaded.next)
        if loaded.next is None:
            current.stage = "index"
            self._page_documents = min(self._page_documents, CHUNK)
        return loaded.page.read_documents

    def _read_index(self, document: Document, progress: Progress) -> int:
        current = self._current
        most = self._limits().documents
        listed, place = self._sink.listing(document.name, current.place, most)
        page = self._source.lookup(document.name, [id for id, _ in listed], progress.epoch)
        self._hindered(verify.hindrance_of_page(progress, document, page))
        if self.hindrance:
            return 0
        self._learn(page.documents, len(page.body))
        rows = verify.rows_of(page)
        self._suspect([id for id, _ in listed if rows.get(id) is None])
        current.found.documents += len(listed)
        current.place = place
        if not place:
            current.stage = "suspects"
        return len(listed)

    def _suspect(self, ids: Sequence[str]) -> None:
        for id in ids:
            self._suspects.setdefault(id, _Suspect(id))

    # -- settling -----------------------------------------------------------------------------

    def _due(self) -> list[_Suspect]:
        """Suspects of one worker to be looked at now, those that wait longest first."""
        now = self._seconds()
        due = [s for s in self._suspects.values() if s.due_seconds <= now]
        due.sort(key=lambda s: s.due_seconds)
        if due:
            share = Share.of_id(due[0].id, self._workers)
            due = [suspect for suspect in due if share.holds(suspect.id)]
        return due[: min(CHUNK, self._page_documents)]

    def _settle(self, document: Document, suspects: Sequence[_Suspect]) -> float:
        ids = [suspect.id for suspect in suspects]
        evidence = self._evidence(document, ids)
        if evidence is None:
            return WAIT_SECONDS
        verdicts = verify.judge(ids, evidence)
        different = [id for id in ids if verdicts[id] in verify.DIFFERENCES]
        mended = self._repair(document, different, evidence) if self.options.repair else set()
        found, full = self._current.found, len(self._suspects) >= MAX_SUSPECTS
        for suspect in suspects:
            verdict = verdicts[suspect.id]
            if verdict is Verdict.UNSETTLED and not self._give_up(suspect, full):
                continue
            del self._suspects[suspect.id]
            if verdict is not Verdict.EQUAL:
                found.add(verdict.value, suspect.id)
            found.repaired += suspect.id in mended
        self._failpoint("verified")
        return 0.0

    def _give_up(self, suspect: _Suspect, full: bool) -> bool:
        """Whether a suspect was waited for long enough; else it is looked at later."""
        options = self.options
        if suspect.waited_seconds >= options.settle_seconds / (4 if full else 1):
            return True
        longer = max(options.first_pause_seconds, 1.5 * suspect.pause_seconds)
        suspect.pause_seconds = min(longer, options.longest_pause_seconds)
        suspect.waited_seconds += suspect.pause_seconds
        suspect.due_seconds = self._seconds() + suspect.pause_seconds
        return False

    def _evidence(self, document: Document, ids: Sequence[str]) -> Evidence | None:
        """Everything in the order of the theory; None if something hinders."""
        name = document.name
        share, progress = stored_of(self._store, self._name, ids[0])
        self.seen, self._workers = {**self.seen, share: progress}, share.of
        if not all(share.holds(id) for id in ids):
            self._hindered("the number of workers has changed")
            return None
        letters = self._sink.letters(name, ids)
        held = self._sink.fetch(name, ids)
        uuid = self._sink.adopt(list(self._documents.values())).get(name, "")
        reason = verify.hindrance(progress, document, uuid)
        self._hindered(reason)
        if reason or progress is None:
            return None
        page = self._source.lookup(name, ids, progress.epoch)
        view = self._source.log(name, ids, progress.cursor.done, LOG_ROWS)
        self._wait_for_gate(page)
        self._hindered(verify.hindrance_of_reading(progress, document, page, view))
        return None if self.hindrance else Evidence(progress, letters, held, page, view)

    def _wait_for_gate(self, page: Page) -> None:
        wait_for_gate(page, self._seconds() + self.options.gate_seconds, self._seconds)

    def _repair(self, document: Document, ids: Sequence[str], evidence: Evidence) -> set[str]:
        """Write what a fresh look-up reads; gives the ids that are mended now."""
        if not ids:
            return set()
        self._note_repair()
        page = self._source.lookup(document.name, ids, evidence.progress.epoch)
        self._wait_for_gate(page)
        self._note_repair()
        self._failpoint("repair-read")
        before = {id: held for id, held in evidence.held.items() if id in ids}
        ack = self._sink.submit(verify.raised(page, before)).result()
        after: Mapping[str, Held] = self._sink.fetch(document.name, ids)
        listed = {letter.id for letter in ack.dead}
        return verify.mended(page, before, after) | listed

    def _note_repair(self) -> None:
        """A marker written before this proves nothing of the repair: neither of a row read after
        the marker, nor of one that another server lacks which has been adopted meanwhile."""
        self._store.note(self._name, REPAIR, fresh_nonce())

    # -- results ------------------------------------------------------------------------------

    def _report(self, document: Document) -> None:
        found = self._current.findings.get(document.name)
        if found is None or not found.differences:
            return
        counts = ", ".join(f"{getattr(found, kind)} {kind}" for kind in DIFFERENT)
        first = ", ".join(repr(id) for kind in DIFFERENT for id in found.first.get(kind, ())[:3])
        log.warning(
            "verify: %s differs: %s, %d repaired; the first: %s",
            document.name, counts, found.repaired, first,
            extra={"action": "verify", "document": document.name},
        )  # fmt: skip

    def _save(self) -> None:
        assert self._note is not None
        self._current.suspects = list(self._suspects)
        self._store.note(self._name, self._note_name, self._note.to_json())
        self._saved_at = self._seconds()
        self._failpoint("verify-saved")

    def _finish(self) -> None:
        assert self._note is not None
        self._note.last, self._note.ended_at, self._note.current = (
            self._current, self._now(), None
        )  # fmt: skip
        self._store.note(self._name, self._note_name, self._note.to_json())
