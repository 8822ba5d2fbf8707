"""How a pipeline is to run, and what it says of itself.  Plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from txid_sync.model import Limits


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
class PipelineStatus:
    """Figures of a running pipeline.

    What was read and acknowledged is counted since its first start, over all crashes.
    `divergence`: documents that a verification beside it found to differ (None: not known).
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

    @property
    def lag_transactions(self) -> int:
        """Transactions that have ended in the source and may not be in the sink yet."""
        return max(0, self.clock - self.complete_clock)
