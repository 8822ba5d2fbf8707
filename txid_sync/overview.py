"""What stored progress, source and sink say of a pipeline together; for people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from txid_sync.errors import Discontinuity
from txid_sync.handover import merged
from txid_sync.model import Document, Limits, Schema
from txid_sync.pipeline_status import Task, task_of
from txid_sync.progress.base import NOTES, DocumentProgress, Progress
from txid_sync.share import Share
from txid_sync.shares import stored_shares
from txid_sync.verify_state import Note
from txid_sync.wiring import Assembly

_PHASES = ("waiting", "load", "sweep", "dropped", "sync")
_ONE_DOCUMENT = Limits(documents=1)


@dataclass(frozen=True, slots=True)
class DocumentState:
    """One document; `phase` is waiting, load, sweep, sync, or dropped (no longer configured).

    `done` and `rows` are how far a load or sweep is (see Task in pipeline_status.py).
    """

    document: str
    table: str
    phase: str
    done: int = 0
    rows: int | None = None

    @property
    def text(self) -> str:
        """The phase, and how far it is."""
        if self.phase not in ("load", "sweep"):
            return self.phase
        return f"{self.phase}: {Task(self.document, self.phase, self.done, self.rows).text}"


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One of several workers; the fields are those of Overview."""

    worker: str
    epoch: int
    cursor: str
    prune_below: int
    lag_transactions: int
    acknowledged_documents: int
    trouble: str
    documents: tuple[DocumentState, ...]

    @property
    def phases(self) -> str:
        """What it does besides following: "load", "sweep", or "sync" for nothing else."""
        return _worst([state.phase for state in self.documents])


@dataclass(frozen=True, slots=True)
class Verified:
    """A verification that ended: when, how many documents differed, how many were repaired.

    `divergence` is what was not repaired; `unsettled` are keys of which nothing could be said.
    """

    ended_at: str
    differences: int
    repaired: int
    divergence: int
    unsettled: int


@dataclass(frozen=True, slots=True)
class Overview:
    """A pipeline as stored.

    `lag_transactions` is an upper bound: 0 if nothing is new, else what has ended since the
    cursor.  `prune_below`: log rows with lower txids were read by this pipeline.  `trouble` tells
    why progress cannot be followed any more; the next run resyncs.
    `verified` is the verification that ended last (None: none did).
    `acknowledged_documents` counts since the pipeline's first start.
    `workers` are those who share the keys, if there are several; all else is then of the last one:
    the greatest lag, the cursor that all have reached.
    """

    pipeline: str
    started: bool
    clock: int
    epoch: int = 0
    cursor: str = ""
    in_progress: int = 0
    prune_below: int = 0
    lag_transactions: int = 0
    dead_letters: int = 0
    acknowledged_documents: int = 0
    trouble: str = ""
    verified: Verified | None = None
    documents: tuple[DocumentState, ...] = field(default=())
    workers: tuple[WorkerState, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Plain values; names may be added later, none is taken away."""
        return asdict(self)


def look(assembly: Assembly) -> Overview:
    """Ask store, sink and source, changing nothing; raises what they raise."""
    assembly.source.connect()
    assembly.sink.connect()
    name = assembly.config.pipeline.name
    dead_letters, _ = assembly.sink.dead_letters(0)
    shares = stored_shares(assembly.store, name)
    base = assembly.store.load(name)
    clock = assembly.source.clock()
    if not shares or base is None:
        return Overview(
            name, False, clock, lag_transactions=clock, dead_letters=dead_letters,
            documents=_documents(assembly, {}),
        )  # fmt: skip
    workers = [_worker(assembly, share, progress, clock) for share, progress in shares.items()]
    several = len(workers) > 1
    counted = [base[0].acknowledged] if several else []
    progress = merged(list(shares.values()), len(shares), counted) if several else base[0]
    return Overview(
        pipeline=name,
        started=True,
        clock=clock,
        epoch=progress.epoch,
        cursor=str(progress.cursor),
        in_progress=len(progress.cursor.done.xip),
        prune_below=progress.cursor.done.lowest_open,
        lag_transactions=max(worker.lag_transactions for worker in workers),
        dead_letters=dead_letters,
        acknowledged_documents=progress.acknowledged.documents,
        trouble=next((worker.trouble for worker in workers if worker.trouble), ""),
        verified=_verified(assembly),
        documents=_together([worker.documents for worker in workers]),
        workers=tuple(workers) if several else (),
    )


def _worker(assembly: Assembly, share: Share, progress: Progress, clock: int) -> WorkerState:
    lag, trouble = _lag(assembly, progress, clock)
    return WorkerState(
        worker=str(share),
        epoch=progress.epoch,
        cursor=str(progress.cursor),
        prune_below=progress.cursor.done.lowest_open,
        lag_transactions=lag,
        acknowledged_documents=progress.acknowledged.documents,
        trouble=trouble,
        documents=_documents(assembly, progress.documents),
    )


def _verified(assembly: Assembly) -> Verified | None:
    """The newer one of the command's last verification and that of `run`."""
    pipeline = assembly.config.pipeline.name
    notes = [Note.from_json(assembly.store.recall(pipeline, name)) for name in NOTES]
    note = max(notes, key=lambda note: note.ended_at)
    if note.last is None:
        return None
    differences = sum(found.differences for found in note.last.findings.values())
    return Verified(
        ended_at=datetime.fromtimestamp(note.ended_at, UTC).isoformat(timespec="seconds"),
        differences=differences,
        repaired=differences - note.last.left,
        divergence=note.last.left,
        unsettled=note.last.unsettled,
    )


def _lag(assembly: Assembly, progress: Progress, clock: int) -> tuple[int, str]:
    if dict(assembly.source.identity()) != dict(progress.identity):
        return clock, "the source is another server, database or history"
    configured = {document.name for document in assembly.config.documents}
    cursor = progress.cursor
    if configured != set(progress.documents):
        cursor = cursor.discard_window()
    try:
        reading = assembly.source.poll(cursor, progress.epoch, _ONE_DOCUMENT)
    except Discontinuity as error:
        return clock, error.message
    behind = reading.page is not None
    return (max(0, clock - cursor.done.clock) if behind else 0), ""


def _documents(
    assembly: Assembly, stored: Mapping[str, DocumentProgress]
) -> tuple[DocumentState, ...]:
    loading = any(entry.load for entry in stored.values())
    schemas = assembly.source.describe() if loading else {}
    states = [
        _state(document, stored.get(document.name), schemas.get(document.name))
        for document in assembly.config.documents
    ]
    known = {state.document for state in states}
    states += [DocumentState(name, "", "dropped") for name in stored if name not in known]
    return tuple(states)


def _together(all_states: Sequence[Sequence[DocumentState]]) -> tuple[DocumentState, ...]:
    """Each document as it is with the workers that have most to do."""
    found: dict[str, list[DocumentState]] = {}
    for state in (state for states in all_states for state in states):
        found.setdefault(state.document, []).append(state)
    return tuple(_joined(states) for states in found.values())


def _joined(states: Sequence[DocumentState]) -> DocumentState:
    phase = _worst([state.phase for state in states])
    return replace(states[0], phase=phase, done=sum(s.done for s in states if s.phase == phase))


def _worst(phases: Sequence[str]) -> str:
    return min(phases, key=_PHASES.index, default="sync")


def _state(
    document: Document, entry: DocumentProgress | None, schema: Schema | None
) -> DocumentState:
    name, table = document.name, document.table
    if entry is None:
        return DocumentState(name, table, "waiting")
    task = task_of(name, entry, schema)
    if task is None:
        return DocumentState(name, table, "sync")
    return DocumentState(name, table, task.phase, task.done, task.rows)
