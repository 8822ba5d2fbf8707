"""The database in memory as a source: the same pages, gate and refusals as PostgreSQL's.

Every rule of the algorithm is one small method (`_until`, `_wanted`, `_order`, `_position`,
`_next`, `_gate`, `_is_idle`), so that the tests can break one at a time and see that it is missed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from txid_sync import ids as document_ids
from txid_sync.cursor import Cursor, Position
from txid_sync.errors import PreconditionError, SourceUnavailable
from txid_sync.model import (
    MAX_ID_BYTES,
    Column,
    DeadLetter,
    Document,
    Limits,
    LoadPage,
    LogEntry,
    LogView,
    Page,
    Reading,
    Schema,
    StreamPage,
    version_of,
)
from txid_sync.share import WHOLE, Share
from txid_sync.snapshot import Snapshot
from txid_sync.sources.memory_database import MemoryDatabase
from txid_sync.sources.memory_look import Connection, Entry, Look
from txid_sync.sources.memory_upkeep import MemoryUpkeep
from txid_sync.sources.memory_wal import Key, Table
from txid_sync.sources.refusals import check_forward, check_key, check_pruned


class MemorySource(MemoryUpkeep):
    """Reads a MemoryDatabase; see sources/base.py for the contract."""

    def __init__(
        self,
        database: MemoryDatabase,
        documents: Sequence[Document],
        now: Callable[[], float] = time.monotonic,
        share: Share = WHOLE,
    ) -> None:
        self.database = database
        self.share = share
        self.now = now
        ordered = sorted(documents, key=lambda document: document.name)
        self.documents = {document.name: document for document in ordered}
        self.connection: Connection | None = None

    # -- connection -------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect unless connected; raises PreconditionError for a document it cannot give."""
        for document in self.documents.values():
            self._table(document.name)
            if document.where:
                raise PreconditionError("the database in memory evaluates no conditions")
        if self.connection is None or not self.database.alive(self.connection.pid):
            self.connection = Connection(self.database.connect().pid)

    def close(self) -> None:
        """End the connection."""
        if self.connection is not None:
            pid = self.connection.pid
            backends = tuple(p for p in self.database.state.backends if p != pid)
            self.database.change(backends=backends)
            self.connection = None

    def identity(self) -> Mapping[str, str]:
        """Cluster, history and database."""
        self._look()
        return self.database.identity()

    def describe(self) -> Mapping[str, Schema]:
        """The schema of every document."""
        return {name: self._schema(document) for name, document in self.documents.items()}

    def begin(self) -> tuple[Cursor, int]:
        """A first cursor that has passed the gate."""
        look = self._look()
        if not self._gate(look):
            raise SourceUnavailable("the WAL is not flushed")
        return Cursor.start(look.snapshot), look.snapshot.clock

    def clock(self) -> int:
        """The clock of a snapshot taken now."""
        return self._look().snapshot.clock

    # -- the stream -------------------------------------------------------------------------

    def poll(self, cursor: Cursor, epoch: int, limits: Limits) -> Reading:
        """The next page of the window; opens one if a log has news."""
        look = self._look()
        identity, clock = self.database.identity(), look.snapshot.clock
        if self._is_idle(cursor, look):
            return Reading(identity, clock, None)
        self._check(cursor, look)
        until = self._until(cursor, look)
        names = self._names_with_news(cursor, until, look)
        if not names and cursor.window is None:
            self._remember_idle(cursor, look)
            return Reading(identity, clock, None)
        return Reading(identity, clock, self._page(cursor, until, names, look, (epoch, limits)))

    def _page(
        self,
        cursor: Cursor,
        until: Snapshot,
        names: Sequence[str],
        look: Look,
        wanted: tuple[int, Limits],
    ) -> StreamPage:
        epoch, limits = wanted
        if not names:  # the log was pruned meanwhile: nothing is left but to close the window
            name, found = next(iter(self.documents)), list[Entry]()
        else:
            name = names[0]
            found = self._order(self._entries(name, cursor, until, look))
        entries = self._limit(name, found, limits, look)
        page = self._build(name, self._keys(entries), epoch, look)
        full = self._full(entries, found, page)
        return self._moved(cursor, until, entries, names[1:], (page, full))

    def _moved(
        self,
        cursor: Cursor,
        until: Snapshot,
        entries: Sequence[Entry],
        rest: Sequence[str],
        read: tuple[Page, bool],
    ) -> StreamPage:
        page, full = read
        last = self._position(entries) if entries else None
        after = self._next(cursor, until, last, full, rest)
        truncated = any(entry.key is None for entry in entries)
        return StreamPage(page, after, truncated, until.clock)

    def skim(self, cursor: Cursor, epoch: int, entries: int) -> tuple[Reading, Sequence[str]]:
        """The next entries of the window as distinct ids."""
        look = self._look()
        reading = Reading(self.database.identity(), look.snapshot.clock, None)
        self._check(cursor, look)
        until, at = self._until(cursor, look), cursor.position
        names = self._names_with_news(cursor, until, look)
        if not names or at is None or at.table != names[0]:
            return reading, ()
        found = self._order(self._entries(names[0], cursor, until, look))
        page = self._build(names[0], (), epoch, look)
        full = len(found) > entries
        stream = self._moved(cursor, until, found[:entries], names[1:], (page, full))
        ids = [document_ids.encode(key) for key in self._keys(found[:entries])]
        return replace(reading, page=stream), ids

    def sample(self, cursor: Cursor) -> bool:
        """Exactly."""
        look, at = self._look(), cursor.position
        if at is None:
            return False
        found = self._entries(at.table, cursor, self._until(cursor, look), look)
        keys = [entry.key for entry in found if entry.key is not None]
        return len(set(keys)) < len(keys)

    def page_keys(self, document: str, limits: Limits) -> int:  # noqa: ARG002
        """As many as there may be."""
        return limits.documents

    # -- the rules, one method each -----------------------------------------------------------

    def _look(self) -> Look:
        """Begin a statement: its snapshot, and the position that the gate waits for."""
        if self.connection is None or not self.database.alive(self.connection.pid):
            raise SourceUnavailable("the connection is gone")
        return Look(self.connection.pid, self.database.snapshot(), self.database.inserted)

    def _check(self, cursor: Cursor, look: Look) -> None:
        """Refuse a cursor that this source cannot follow."""
        check_forward(cursor, look.snapshot)
        for document in self.documents.values():
            check_pruned(cursor, self.database.pruned(document.table))

    def _is_idle(self, cursor: Cursor, look: Look) -> bool:
        """Whether nothing has ended since the last poll, on this backend, with this cursor."""
        return (
            self.connection is not None
            and cursor.window is None
            and self.connection.idle == (str(look.snapshot), cursor.done)
        )

    def _remember_idle(self, cursor: Cursor, look: Look) -> None:
        self.connection = Connection(look.pid, (str(look.snapshot), cursor.done))

    def _until(self, cursor: Cursor, look: Look) -> Snapshot:
        """The window's end: the snapshot of its first page's statement."""
        return cursor.window.until if cursor.window else look.snapshot

    def _wanted(self, txid: int, cursor: Cursor, until: Snapshot) -> bool:
        """The window's two arms."""
        return cursor.open(until).wants(txid)

    def _order(self, entries: list[Entry]) -> list[Entry]:
        """The order of the walk: that of the log."""
        return sorted(entries, key=lambda entry: entry.position)

    def _position(self, entries: Sequence[Entry]) -> Position:
        """The place of the last key in order."""
        return entries[-1].position

    def _full(self, entries: Sequence[Entry], found: Sequence[Entry], _page: Page) -> bool:
        """Whether the table may have more, counted in the log and not in the page."""
        return len(entries) < len(found)

    def _next(
        self,
        cursor: Cursor,
        until: Snapshot,
        last: Position | None,
        full: bool,
        rest: Sequence[str],
    ) -> Cursor:
        """The cursor once the page is acknowledged."""
        return cursor.after(until, last, full, rest)

    def _gate(self, look: Look) -> bool:
        """Whether all that was seen is flushed, asked on the backend that saw it; may force it."""
        if not self.database.alive(look.pid):
            raise SourceUnavailable("the connection that read the page is gone")
        if self.database.flushed < look.inserted:
            self.database.flush()
        return self.database.flushed >= look.inserted

    # -- loads and lookups ------------------------------------------------------------------

    def load(
        self, document: str, after: tuple[str, ...] | None, epoch: int, limits: Limits
    ) -> LoadPage:
        """The rows whose keys follow `after`, in the order of the key's texts."""
        look = self._look()
        rows = self.database.rows(self._table(document).name, look.snapshot)
        keys = sorted(k for k in rows if (after is None or k > after) and self._mine(k))
        chosen = keys[: limits.documents]
        page = self._build(document, chosen, epoch, look)
        while len(page.body) > limits.body_bytes and len(chosen) > 1:
            chosen = chosen[: len(chosen) // 2]
            page = self._build(document, chosen, epoch, look)
        return LoadPage(page, chosen[-1] if len(chosen) < len(keys) else None)

    def lookup(self, document: str, wanted: Sequence[str], epoch: int) -> Page:
        """These documents as they are now."""
        columns = len(self._table(document).key)
        keys = {name: document_ids.decode(name, columns) for name in wanted}
        look = self._look()
        page = self._build(document, [k for k in keys.values() if k is not None], epoch, look)
        foreign = [name for name, key in keys.items() if key is None]
        body = page.body + b"".join(_action("delete", name, page.version) for name in foreign)
        return replace(page, body=body, documents=page.documents + len(foreign))

    def log(self, document: str, ids: Sequence[str], done: Snapshot, limit: int) -> LogView:
        """What the log holds of these ids that is not done."""
        look, table = self._look(), self._table(document)
        kept = [
            row for row in self.database.log(table.name, look.snapshot)
            if not done.finished(row.txid)
        ]  # fmt: skip
        kept.sort(key=lambda row: (row.txid, row.seq))
        found: dict[LogEntry, None] = {}
        for row in kept[:limit]:
            for key in row.keys or (None,):
                name = None if key is None else document_ids.encode(key)
                if name is None or name in ids:
                    found[LogEntry(name, row.txid)] = None
        identity, pruned = self.database.identity(), self.database.pruned(table.name)
        return LogView(identity, look.snapshot, pruned, tuple(found), len(kept) <= limit)

    def key_of(self, document: str, texts: Sequence[str]) -> tuple[str, ...]:
        """The texts themselves."""
        check_key(document, self._table(document).key, texts)
        return tuple(texts)

    # -- inside -----------------------------------------------------------------------------

    def _mine(self, key: Key) -> bool:
        """Whether a key is of this source's share."""
        return self.share.holds(document_ids.encode(key))

    def _keys(self, entries: Sequence[Entry]) -> list[Key]:
        """Each key of this source's share once, in order."""
        return sorted({e.key for e in entries if e.key is not None and self._mine(e.key)})

    def _table(self, name: str) -> Table:
        table = self.database.table(self.documents[name].table)
        if table is None:
            raise PreconditionError(f"table {self.documents[name].table} does not exist")
        return table

    def _schema(self, document: Document) -> Schema:
        table = self._table(document.name)
        columns = table.columns or tuple(Column(name, "text") for name in table.key)
        if document.columns:
            columns = tuple(c for c in columns if c.name in document.columns)
        rows = len(self.database.rows(table.name, self.database.snapshot()))
        return Schema(columns, table.key, table.relation, table.fingerprint, rows)

    def _entries(self, name: str, cursor: Cursor, until: Snapshot, look: Look) -> list[Entry]:
        """The rest of the window in one table."""
        at = cursor.position
        entries = []
        for row in self.database.log(self.documents[name].table, look.snapshot):
            if not self._wanted(row.txid, cursor, until):
                continue
            items = [(0, None)] if not row.keys else enumerate(row.keys, 1)
            for item, key in items:
                place = Position(name, row.txid, row.seq, item)
                if at is None or at.table != name or place > at:
                    entries.append(Entry(place, key))
        return entries

    def _names_with_news(self, cursor: Cursor, until: Snapshot, look: Look) -> list[str]:
        """The tables with rows in the rest of the window, in the order of the documents."""
        names = list(self.documents)
        if cursor.position is not None and cursor.position.table in self.documents:
            names = names[names.index(cursor.position.table) :]
        return [name for name in names if self._entries(name, cursor, until, look)]

    def _limit(
        self, name: str, entries: list[Entry], limits: Limits, look: Look
    ) -> list[Entry]:
        """As many entries as a page may hold, at least one."""
        chosen = entries[: limits.documents]
        rows = self.database.rows(self.documents[name].table, look.snapshot)
        size = 0
        for n, entry in enumerate(chosen):
            size += len(rows.get(entry.key, "")) if entry.key else 0
            if size > limits.body_bytes and n:
                return chosen[:n]
        return chosen

    def _build(self, name: str, keys: Sequence[Key], epoch: int, look: Look) -> Page:
        """The page of these keys as the statement sees them."""
        table = self._table(name)
        rows = self.database.rows(table.name, look.snapshot)
        version = version_of(epoch, look.snapshot.clock)
        actions: list[bytes] = []
        dead: list[DeadLetter] = []
        for key in keys:
            document_id, row = document_ids.encode(key), rows.get(key)
            if len(document_id.encode()) > MAX_ID_BYTES:
                if row is not None:
                    reason = f"id is longer than {MAX_ID_BYTES} bytes"
                    dead.append(DeadLetter(name, document_id, version, reason))
            elif row is None:
                actions.append(_action("delete", document_id, version))
            else:
                source = self._projected(name, row).encode() + b"\n"
                actions.append(_action("index", document_id, version) + source)
        return Page(
            document=name,
            body=b"".join(actions),
            documents=len(actions),
            version=version,
            dead=tuple(dead),
            ready=partial(self._gate, look),
            read_at_seconds=self.now(),
            fingerprint=table.fingerprint,
            identity=self.database.identity(),
        )

    def _projected(self, name: str, row: str) -> str:
        columns = self.documents[name].columns
        if not columns:
            return row.replace("\n", " ")
        value = json.loads(row)
        return json.dumps({column: value[column] for column in columns}, separators=(",", ":"))


def _action(operation: str, document_id: str, version: int) -> bytes:
    """One action line, its id JSON-escaped as PostgreSQL does: text beyond ASCII as it is."""
    quoted = json.dumps(document_id, ensure_ascii=False)
    head = f'{{"{operation}":{{"_id":{quoted},"version":{version},'
    return f'{head}"version_type":"external_gte"}}}}\n'.encode()
