"""The values of the database in memory: tables, WAL records, transactions, its state."""

from __future__ import annotations

from dataclasses import dataclass

from txid_sync.model import Column

Key = tuple[str, ...]
FIRST_TXID = 3


@dataclass(frozen=True, slots=True)
class Table:
    """A tracked table: its key columns, all columns (empty: the key alone), what DDL changes."""

    name: str
    key: tuple[str, ...] = ("id",)
    columns: tuple[Column, ...] = ()
    relation: str = ""
    fingerprint: str = "1"


@dataclass(frozen=True, slots=True)
class Write:
    """One statement: its log row (top, seq) and the rows; no rows at all is a TRUNCATE."""

    xid: int
    top: int
    seq: int
    table: str
    rows: tuple[tuple[Key, str | None], ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """The end of a transaction that stays: the top txid and all savepoints not rolled back."""

    top: int
    xids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Abort:
    """The end of a transaction or of savepoints whose writes never were."""

    xids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prepare:
    """First phase of a two-phase commit; it holds all that survives a crash."""

    transaction: Transaction


@dataclass(frozen=True, slots=True)
class Prune:
    """Log rows (txid, seq) of a table that were deleted, by a transaction of its own."""

    xid: int
    table: str
    removed: frozenset[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Wants:
    """A reader's entry: the lowest txid whose rows in this table's log it may not have read (0: it
    reads no more)."""

    xid: int
    table: str
    reader: str
    txid: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A marker, written by a transaction of its own."""

    xid: int
    name: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """Written at the end of crash recovery; keeps the txid counter."""

    next_txid: int


Record = Write | Commit | Abort | Prepare | Prune | Wants | Mark | Recovered


@dataclass(frozen=True, slots=True)
class Level:
    """A transaction or a savepoint: its own txid (0: none yet), those released into it."""

    name: str = ""
    xid: int = 0
    released: tuple[int, ...] = ()

    @property
    def xids(self) -> tuple[int, ...]:
        """Every txid that ends with this level."""
        return ((self.xid,) if self.xid else ()) + self.released


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction of a backend (its pid), or a prepared one (its name)."""

    owner: int | str
    levels: tuple[Level, ...] = (Level(),)

    @property
    def top(self) -> int:
        """The top txid, 0 before the first write."""
        return self.levels[0].xid

    @property
    def xids(self) -> tuple[int, ...]:
        """All txids that were not rolled back."""
        return tuple(x for level in self.levels for x in level.xids)


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row of a change log; no keys: the whole table was truncated."""

    txid: int
    seq: int
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class State:
    """Everything: the WAL and how much is flushed, counters, transactions, connections."""

    tables: tuple[Table, ...]
    identity: tuple[tuple[str, str], ...]
    wal: tuple[Record, ...] = ()
    flushed: int = 0
    next_txid: int = FIRST_TXID
    latest_ended: int = FIRST_TXID - 1
    seq: int = 0
    running: tuple[Transaction, ...] = ()
    backends: tuple[int, ...] = ()
    next_pid: int = 1


def xids_of(record: Record) -> tuple[int, ...]:
    """Every txid that a record shows to have been drawn."""
    if isinstance(record, Write):
        return (record.xid, record.top)
    if isinstance(record, Commit | Abort):
        return record.xids
    if isinstance(record, Prepare):
        return record.transaction.xids
    if isinstance(record, Prune | Wants | Mark):
        return (record.xid,)
    return ()


def wanted_of(wal: tuple[Record, ...], table: str) -> dict[str, int]:
    """From which txid on each reader wants the rows of a table's log."""
    noted = {r.reader: r.txid for r in wal if isinstance(r, Wants) and r.table == table}
    return {reader: txid for reader, txid in noted.items() if txid}
