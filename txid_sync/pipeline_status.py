"""How a pipeline is to run, and what it says of itself.  Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from txid_sync.inflight import InFlight
from txid_sync.model import Limits, Schema
from txid_sync.progress.base import DocumentProgress, Progress


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How a pipeline runs; times in seconds, `brake_share` of an index that a sweep may delete.

    Without `may_resync` it stops where it would write everything again by itself.
    `skim_entries`: how many log entries of a long window are listed at a time; 0: never.
    `prune_interval_seconds` 0: the change logs are left to others; `marker_interval_seconds` 0: no
    marker is written.
    """

    limits: Limits = field(default_factory=Limits)
    in_flight: int = 2
    skim_entries: int = 100_000
    save_interval_seconds: float = 1.0
    prune_interval_seconds: float = 0.0
    marker_interval_seconds: float = 0.0
    deadline_seconds: float = 60.0
    catalog_interval_seconds: float = 10.0
    brake_share: float = 0.2
    brake_off: bool = False
    load: bool = True
    may_resync: bool = True


@dataclass(frozen=True, slots=True)
class Task:
    """A load or sweep of a document, and how far it is, over all crashes.

    `done` are the documents that this load has written, or the candidates that this sweep has
    looked up; `rows` is about how many rows the table has (None: not known, or a sweep).
    """

    document: str
    phase: str
    done: int
    rows: int | None = None

    @property
    def text(self) -> str:
        """How far it is.

        >>> Task("orders", "load", 2000, 50000).text, Task("orders", "sweep", 7).text
        ('2000 of about 50000 rows', '7 looked up')
        """
        if self.phase == "sweep":
            return f"{self.done} looked up"
        about = "" if self.rows is None else f" of about {self.rows}"
        return f"{self.done}{about} rows"


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """Figures of a running pipeline.

    What was read and acknowledged is counted since its first start, over all crashes.
    `divergence`: documents that a verification beside it found to differ (None: not known).
    `tasks`: how far each load and sweep is.
    """

    phase: str
    epoch: int
    clock: int
    complete_clock: int
    read_documents: int
    acknowledged_documents: int
    acknowledged_pages: int
    dead_letters: int
    in_flight: int
    resyncs: int
    loading: tuple[str, ...]
    sweeping: tuple[str, ...]
    divergence: int | None = None
    tasks: tuple[Task, ...] = ()

    @property
    def lag_transactions(self) -> int:
        """Transactions that have ended in the source and may not be in the sink yet."""
        return max(0, self.clock - self.complete_clock)

    @property
    def lag_known(self) -> bool:
        """After a start not before the first window is closed."""
        return self.complete_clock > 0


def status_of(
    progress: Progress,
    schemas: Mapping[str, Schema],
    *,
    clock: int,
    complete_clock: int,
    flights: InFlight,
    resyncs: int,
    divergence: int | None,
) -> PipelineStatus:
    """The figures of a pipeline that is here with its progress."""
    documents, counts = progress.documents.items(), progress.acknowledged
    loading = tuple(name for name, entry in documents if entry.load)
    sweeping = tuple(name for name, entry in documents if entry.sweep_below)
    found = (task_of(name, entry, schemas.get(name)) for name, entry in documents)
    return PipelineStatus(
        phase="load" if loading else "sweep" if sweeping else "sync",
        epoch=progress.epoch,
        clock=clock,
        complete_clock=complete_clock,
        read_documents=counts.documents + flights.read_documents,
        acknowledged_documents=counts.documents,
        acknowledged_pages=counts.pages,
        dead_letters=counts.dead_letters,
        in_flight=len(flights),
        resyncs=resyncs,
        loading=loading,
        sweeping=sweeping,
        divergence=divergence,
        tasks=tuple(task for task in found if task is not None),
    )


def task_of(name: str, entry: DocumentProgress, schema: Schema | None) -> Task | None:
    """What is to be done for a document besides following: first a load, then a sweep."""
    if entry.load:
        return Task(name, "load", entry.load_documents, schema.rows if schema else None)
    return Task(name, "sweep", entry.sweep_candidates) if entry.sweep_below else None


@dataclass(frozen=True, slots=True)
class Report:
    """What a running daemon says of itself.

    `status` is None before progress is loaded; `first` is the status then, from which this
    process counts.  `outage` is the error that is being waited out (empty: none), `last_error` the
    last one there was.  `errors` counts them by server.  Times are those of the wall clock (0:
    never); `stepped_at` is when the pipeline did something last.
    """

    pipeline: str
    status: PipelineStatus | None = None
    first: PipelineStatus | None = None
    outage: str = ""
    last_error: str = ""
    last_error_at: float = 0.0
    stepped_at: float = 0.0
    errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Whether it is started and waits for no server."""
        return self.status is not None and not self.outage
