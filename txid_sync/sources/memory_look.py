"""What one statement on the database in memory sees: plain values."""

from __future__ import annotations

from dataclasses import dataclass

from txid_sync.cursor import Position
from txid_sync.snapshot import Snapshot
from txid_sync.sources.memory_wal import Key


@dataclass(frozen=True, slots=True)
class Connection:
    """A backend, and what the last poll on it saw if it found nothing: (snapshot, done)."""

    pid: int
    idle: tuple[str, Snapshot] | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What one statement sees besides rows: backend, snapshot, WAL insert position."""

    pid: int
    snapshot: Snapshot
    inserted: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of the change log at its place; no key: the table was truncated."""

    position: Position
    key: Key | None
