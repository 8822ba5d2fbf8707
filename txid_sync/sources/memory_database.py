"""A small database in memory with PostgreSQL's rules of visibility and durability.

It exists so that every schedule of transactions, pages and crashes can be tried on the real core
in microseconds.  Nothing in it is random, and no clock is read.

Rules, as in PostgreSQL
-----------------------
1. A transaction gets its txid with its first write.  A savepoint gets one of its own with its first
   write; the change log always carries that of the top transaction.
2. A snapshot is xmin:xmax:xip.  xmax is one above the latest txid that has ended; xip lists the top
   transactions below it that run or are prepared.  Running savepoints are not listed: their txids
   enter the finished set early and never leave it.
3. A write is seen in a snapshot if its top transaction committed and is finished there, and its
   savepoint was not rolled back.
4. The write-ahead log (WAL) is inserted first and flushed later.  A synchronous commit of a
   transaction that wrote flushes all of it; an asynchronous commit, an abort and the end of a
   transaction without writes flush nothing.  Two-phase commands always flush.
5. A crash keeps the flushed part and nothing else.  The txid counter goes on above the greatest
   txid in that part, so lost ones are handed out again; every connection ends; prepared
   transactions stay.
6. A second writer of a locked key is refused (`LockConflictError`); PostgreSQL would let it wait.

The whole state is one immutable value, `MemoryDatabase.state`: keeping it and putting it back moves
the database to that moment, with all connections as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from txid_sync.errors import SourceUnavailable
from txid_sync.snapshot import Snapshot
from txid_sync.sources.memory_wal import (
    FIRST_TXID,
    Abort,
    Commit,
    Key,
    Level,
    LogRow,
    Prepare,
    Prune,
    Record,
    Recovered,
    State,
    Table,
    Transaction,
    Wants,
    Write,
    wanted_of,
    xids_of,
)

_IDENTITY = (("database_oid", "1"), ("system_identifier", "1"), ("timeline", "00000001"))


class LockConflictError(Exception):
    """Another transaction holds the lock; PostgreSQL would wait, this schedule ends here."""


class MemoryDatabase:
    """Tables of key → row (JSON text) with transactions, a change log each, and a WAL."""

    def __init__(self, *tables: Table | str) -> None:
        made = tuple(Table(t) if isinstance(t, str) else t for t in tables)
        made = tuple(replace(t, relation=t.relation or t.name) for t in made)
        self.state = State(made, _IDENTITY)

    def change(self, **fields: object) -> None:
        """Move to a new state."""
        self.state = replace(self.state, **fields)  # type: ignore[arg-type]

    # -- connections ------------------------------------------------------------------------

    def connect(self) -> Session:
        """A new connection (backend)."""
        pid = self.state.next_pid
        self.change(backends=(*self.state.backends, pid), next_pid=pid + 1)
        return Session(self, pid)

    def alive(self, pid: int) -> bool:
        """Whether this backend still exists; a crash ends all."""
        return pid in self.state.backends

    @contextmanager
    def transaction(self, synchronous: bool = True) -> Iterator[Session]:
        """A transaction on a connection of its own: committed at the end, aborted on an error."""
        session = self.connect()
        session.begin()
        try:
            yield session
        except BaseException:
            session.abort()
            raise
        else:
            session.commit(synchronous)
        finally:
            session.close()

    # -- what a statement sees --------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """What txid_current_snapshot() gives to a session without a txid (rule 2)."""
        xmax = self.state.latest_ended + 1
        tops = sorted(t.top for t in self.state.running if 0 < t.top < xmax)
        return Snapshot.of(xmax, tuple(tops))

    def _seen(self, snapshot: Snapshot) -> Iterator[Write]:
        kept = {x for r in self.state.wal if isinstance(r, Commit) for x in r.xids}
        for record in self.state.wal:
            if isinstance(record, Write) and record.xid in kept and snapshot.finished(record.top):
                yield record

    def rows(self, table: str, snapshot: Snapshot) -> dict[Key, str]:
        """The rows of a table in this snapshot, in no particular order."""
        rows: dict[Key, str] = {}
        for write in self._seen(snapshot):
            if write.table != table:
                continue
            if not write.rows:
                rows.clear()
            for key, text in write.rows:
                if text is None:
                    rows.pop(key, None)
                else:
                    rows[key] = text
        return rows

    def log(self, table: str, snapshot: Snapshot) -> list[LogRow]:
        """The log rows of a table in this snapshot, in no particular order."""
        removed = {r for p in self._prunes(table) for r in p.removed}
        return [
            LogRow(write.top, write.seq, tuple(key for key, _ in write.rows))
            for write in self._seen(snapshot)
            if write.table == table and (write.top, write.seq) not in removed
        ]

    def table(self, name: str) -> Table | None:
        """The definition of a table, None if there is none."""
        return next((t for t in self.state.tables if t.name == name), None)

    def alter(self, name: str, **fields: object) -> None:
        """Change a table's definition, as DDL would."""
        changed: dict[str, Any] = fields
        new = (replace(t, **changed) if t.name == name else t for t in self.state.tables)
        self.change(tables=tuple(new))

    # -- durability -------------------------------------------------------------------------

    def append(self, record: Record, flush: bool = False) -> None:
        """Insert a WAL record, and flush up to it."""
        wal = (*self.state.wal, record)
        self.change(wal=wal, flushed=len(wal) if flush else self.state.flushed)

    @property
    def inserted(self) -> int:
        """The insert position of the WAL."""
        return len(self.state.wal)

    @property
    def flushed(self) -> int:
        """The flush position of the WAL."""
        return self.state.flushed

    def flush(self) -> None:
        """Flush the WAL up to its insert position."""
        self.change(flushed=self.inserted)

    def crash(self, keep: int | None = None) -> None:
        """Crash and recover (rule 5).

        `keep` below the flush position loses flushed records too: a disk that lied, or an image of
        the disk put back, which keeps the identity.
        """
        kept = self.flushed if keep is None else min(keep, self.flushed)
        wal = self.state.wal[:kept]
        prepared = {r.transaction.top: r.transaction for r in wal if isinstance(r, Prepare)}
        next_txid = FIRST_TXID
        for record in wal:
            xids = xids_of(record)
            next_txid = max(next_txid, *(x + 1 for x in xids), 0)
            if isinstance(record, Recovered):
                next_txid = max(next_txid, record.next_txid)
            if isinstance(record, Commit | Abort):
                prepared.pop(xids[0], None)
        self.change(
            wal=(*wal, Recovered(next_txid)),
            flushed=kept + 1,
            next_txid=next_txid,
            latest_ended=next_txid - 1,
            seq=max((r.seq for r in wal if isinstance(r, Write)), default=0),
            running=tuple(prepared[top] for top in sorted(prepared)),
            backends=(),
        )

    # -- transactions' ends -----------------------------------------------------------------

    def end(self, transaction: Transaction, record: Record, flush: bool) -> None:
        """Write the end of a transaction, then let it leave the list of running ones."""
        if transaction.top:
            self.append(record, flush)
        latest = max(self.state.latest_ended, *transaction.xids, 0)
        running = tuple(t for t in self.state.running if t != transaction)
        self.change(running=running, latest_ended=latest)

    def commit_prepared(self, name: str) -> None:
        """Second phase: commit; always flushed."""
        found = self._prepared(name)
        self.end(found, Commit(found.top, found.xids), flush=True)

    def rollback_prepared(self, name: str) -> None:
        """Second phase: abort; always flushed."""
        found = self._prepared(name)
        self.end(found, Abort(found.xids), flush=True)

    def _prepared(self, name: str) -> Transaction:
        return next(t for t in self.state.running if t.owner == name)

    def draw(self) -> int:
        """The next txid."""
        txid = self.state.next_txid
        self.change(next_txid=txid + 1)
        return txid

    # -- upkeep and identity ----------------------------------------------------------------

    def prune(self, table: str, bound: int, flush: bool = True) -> int:
        """Delete committed log rows with txid < bound (none of a running transaction or above: a
        cursor that begins now starts there); returns how many."""
        now = self.snapshot()
        low = min(bound, now.lowest_open)
        removed = frozenset((r.txid, r.seq) for r in self.log(table, now) if r.txid < low)
        if removed:
            record = Prune(self.draw(), table, removed)
            self.append(record, flush)
            self.change(latest_ended=record.xid)
        return len(removed)

    def upkeep(self, table: str, reader: str, wanted: int | None) -> int:
        """Note from where on a reader wants rows (None: as before); prune what nobody wants."""
        now, noted = self.snapshot().lowest_open, wanted_of(self.state.wal, table)
        low = noted.get(reader, now) if wanted is None else min(wanted, now)
        if reader and noted.get(reader) != low:
            self.append(Wants(self.draw(), table, reader, low), flush=True)
            self.change(latest_ended=self.state.next_txid - 1)
        return self.prune(table, min(wanted_of(self.state.wal, table).values(), default=now))

    def pruned(self, table: str) -> int:
        """The greatest txid whose log row was deleted, 0 if none was."""
        return max((txid for p in self._prunes(table) for txid, _ in p.removed), default=0)

    def _prunes(self, table: str) -> Iterator[Prune]:
        return (r for r in self.state.wal if isinstance(r, Prune) and r.table == table)

    def identity(self) -> Mapping[str, str]:
        """Which system, database and history this is."""
        return dict(self.state.identity)

    def change_identity(self, **fields: str) -> None:
        """Become another server, as a promotion or a restore would."""
        self.change(identity=tuple(sorted({**self.identity(), **fields}.items())))


@dataclass(frozen=True, slots=True)
class Session:
    """A connection, as a handle without state of its own."""

    database: MemoryDatabase
    pid: int

    def begin(self) -> None:
        """Begin a transaction."""
        self._need_alive()
        running = self.database.state.running
        if any(t.owner == self.pid for t in running):
            raise RuntimeError("a transaction is open already")
        self.database.change(running=(*running, Transaction(self.pid)))

    def assign(self) -> int:
        """The top txid, drawn now if need be: txid_current()."""
        self._assign(depth=1)
        return self._open().top

    def savepoint(self, name: str) -> None:
        """Begin a savepoint."""
        self._replace(*self._open().levels, Level(name))

    def release(self, name: str) -> None:
        """End a savepoint and those in it; they end with what is around them."""
        levels, at = self._find(name)
        inner = tuple(x for level in levels[at:] for x in level.xids)
        outer = levels[at - 1]
        self._replace(*levels[: at - 1], replace(outer, released=outer.released + inner))

    def rollback_to(self, name: str) -> None:
        """Undo a savepoint and those in it; the savepoint is there again, empty."""
        levels, at = self._find(name)
        undone = tuple(x for level in levels[at:] for x in level.xids)
        self._replace(*levels[:at], Level(name))
        if undone:
            self.database.append(Abort(undone))
            latest = max(self.database.state.latest_ended, *undone)
            self.database.change(latest_ended=latest)

    def write(self, table: str, rows: Mapping[Key, str]) -> None:
        """Insert or replace rows, in one statement: one log row."""
        self._statement(table, tuple(rows.items()))

    def delete(self, table: str, *keys: Key) -> None:
        """Delete rows, in one statement: one log row."""
        self._statement(table, tuple((key, None) for key in keys))

    def truncate(self, table: str) -> None:
        """Empty the table: a log row without keys."""
        self._statement(table, ())

    def commit(self, synchronous: bool = True) -> None:
        """Commit; flushes only if synchronous and something was written (rule 4)."""
        mine = self._open()
        wrote = any(isinstance(r, Write) and r.top == mine.top for r in self.database.state.wal)
        self.database.end(mine, Commit(mine.top, mine.xids), flush=synchronous and wrote)

    def abort(self) -> None:
        """Roll back; nothing is flushed.  A connection that is gone has aborted already."""
        if self.database.alive(self.pid):
            mine = self._open()
            self.database.end(mine, Abort(mine.xids), flush=False)

    def prepare(self, name: str) -> None:
        """First phase of a two-phase commit: flushed, and no longer tied to this connection."""
        mine = self._open()
        if not mine.top:
            raise RuntimeError("a transaction without a write is not prepared")
        prepared = Transaction(name, mine.levels)
        running = tuple(prepared if t is mine else t for t in self.database.state.running)
        self.database.append(Prepare(prepared), flush=True)
        self.database.change(running=running)

    def close(self) -> None:
        """Disconnect; an open transaction is aborted."""
        if not self.database.alive(self.pid):
            return
        if any(t.owner == self.pid for t in self.database.state.running):
            self.abort()
        backends = tuple(p for p in self.database.state.backends if p != self.pid)
        self.database.change(backends=backends)

    # -- inside -----------------------------------------------------------------------------

    def _need_alive(self) -> None:
        if not self.database.alive(self.pid):
            raise SourceUnavailable("the connection is gone")

    def _open(self) -> Transaction:
        self._need_alive()
        for transaction in self.database.state.running:
            if transaction.owner == self.pid:
                return transaction
        raise RuntimeError("no transaction is open")

    def _replace(self, *levels: Level) -> None:
        mine = self._open()
        changed = replace(mine, levels=levels)
        running = tuple(changed if t is mine else t for t in self.database.state.running)
        self.database.change(running=running)

    def _find(self, name: str) -> tuple[Sequence[Level], int]:
        levels = self._open().levels
        at = max(i for i, level in enumerate(levels) if i and level.name == name)
        return levels, at

    def _assign(self, depth: int) -> None:
        """Give the outer `depth` levels their txids, the outermost first (rule 1)."""
        levels = list(self._open().levels)
        for i, level in enumerate(levels[:depth]):
            if not level.xid:
                levels[i] = replace(level, xid=self.database.draw())
        self._replace(*levels)

    def _statement(self, table: str, rows: tuple[tuple[Key, str | None], ...]) -> None:
        if self.database.table(table) is None:
            raise KeyError(table)
        self._check_locks(table, {key for key, _ in rows})
        self._assign(depth=len(self._open().levels))
        mine = self._open()
        seq = self.database.state.seq + 1
        self.database.append(Write(mine.levels[-1].xid, mine.top, seq, table, rows))
        self.database.change(seq=seq)

    def _check_locks(self, table: str, keys: set[Key]) -> None:
        mine = self._open().top
        state = self.database.state
        held = {x for t in state.running if t.top != mine for x in t.xids}
        for record in state.wal if held else ():
            if isinstance(record, Write) and record.table == table and record.xid in held:
                locked = {key for key, _ in record.rows}
                if not keys or not locked or keys & locked:
                    raise LockConflictError(f"{table}: locked by {record.top}")
