"""PostgreSQL as a source: pages of the change log, loads and lookups, each in one statement.

A page is one plain SELECT in autocommit at READ COMMITTED, so in one snapshot that is taken after
its table locks; it returns the body of a bulk request as bytes, the snapshot, the place of its last
key, the WAL position for the gate, the identity of the server and the table's fingerprint.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2

from txid_sync import ids
from txid_sync.cursor import Cursor, Position
from txid_sync.errors import (
    Discontinuity,
    PreconditionError,
)
from txid_sync.model import (
    MAX_ID_BYTES,
    DeadLetter,
    Document,
    Limits,
    LoadPage,
    Page,
    Reading,
    Schema,
    StreamPage,
)
from txid_sync.share import WHOLE, Share
from txid_sync.snapshot import Snapshot
from txid_sync.sources import postgres_sql
from txid_sync.sources.pagesize import PageSize
from txid_sync.sources.postgres_catalog import (
    check_condition,
    check_triggers,
    find_table,
    resolve,
    schema_of,
)
from txid_sync.sources.postgres_errors import is_poison, is_too_much, reason, translate
from txid_sync.sources.postgres_log import PostgresLog
from txid_sync.sources.postgres_server import Memory, Primary
from txid_sync.sources.postgres_session import Session, search_path
from txid_sync.sources.postgres_sql import Statements
from txid_sync.sources.postgres_standby import Standby
from txid_sync.sources.refusals import check_forward, check_pruned


@dataclass(frozen=True, slots=True)
class _Idle:
    """A poll that found nothing: while the snapshot's text stays the same, nothing has ended."""

    generation: int
    pid: str
    snapshot: str
    done: Snapshot


class PostgresSource(PostgresLog):
    """Reads tracked tables of one database; see sources/base.py for the contract."""

    def __init__(self, dsn: str, documents: Sequence[Document], share: Share = WHOLE) -> None:
        self._session = Session(dsn)
        self._share = share
        self._memory = Memory()
        self._server = Primary(self._session, self._memory)
        # One order for ever, whatever that of the configuration: a window is read table by table.
        ordered = sorted(documents, key=lambda document: document.name)
        self._documents = {document.name: document for document in ordered}
        self._names = list(self._documents)
        self._statements: dict[str, Statements] = {}
        self._sizes: dict[str, PageSize] = {}
        self._idle: _Idle | None = None
        self._rest: tuple[int, Snapshot, tuple[str, ...]] | None = None

    # -- connection -------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect, pin the session, find every table and its log; a no-op while connected."""
        if self._session.connected and self._statements:
            return
        self._idle = self._rest = None
        self._statements = {}
        self._session.connect()
        kind = Standby if self._session.in_recovery else Primary
        self._server = kind(self._session, self._memory)
        self._server.arrive()
        found = [(d, resolve(self._session, d)) for d in self._documents.values()]
        self._session.run(search_path([]))
        tables = [find_table(self._session, document, table) for document, table in found]
        for table in tables:
            check_triggers(self._session, table)
        schemas = [column.operator_schema for table in tables for column in table.key]
        self._session.run(search_path(schemas))
        self._statements = {
            table.document.name: postgres_sql.compose(table, ordinal, kind.role, self._share)
            for ordinal, table in enumerate(tables)
        }
        for name in self._names:
            check_condition(self._session, self._statements[name])
            self._sizes.setdefault(name, PageSize())

    def close(self) -> None:
        """End the connection."""
        self._session.close()

    def identity(self) -> Mapping[str, str]:
        """Cluster, history and database that answer now."""
        return self._server.identity()

    def resume(self, identity: Mapping[str, str], place: int) -> None:
        """Remember what was read before this process; a standby is asked whether it is there."""
        self._memory.read(identity, place)
        self._server.arrive()

    def describe(self) -> Mapping[str, Schema]:
        """The schema of every document; raises PreconditionError if capture is not complete."""
        self.connect()
        for statements in self._statements.values():
            check_triggers(self._session, statements.table)
        return {n: schema_of(self._session, s) for n, s in self._statements.items()}

    def begin(self) -> tuple[Cursor, int]:
        """A first cursor that has passed the gate."""
        self.connect()
        for statements in self._statements.values():
            if statements.table.foreign_log:
                self._server.rebind(statements.table)
        snapshot = self._server.begin()
        return Cursor.start(snapshot), snapshot.clock

    def clock(self) -> int:
        """The clock of a snapshot taken now."""
        return self._server.now().clock

    # -- the stream -------------------------------------------------------------------------

    def poll(self, cursor: Cursor, epoch: int, limits: Limits) -> Reading:
        """The next page of the window; opens one if a log has news."""
        self.connect()
        self._server.look()
        if cursor.window is None and self._server.has_idle_text:
            idle = self._still_idle(cursor)
            if idle is not None:
                return idle
        snapshot, names, reading = self._tables_of(cursor)
        if not names:
            return reading
        until = cursor.window.until if cursor.window else snapshot
        at = cursor.position
        if at is None or at.table != names[0]:
            at = Position(names[0], 0, 0, 0)
        return self._page(cursor.open(until), at, tuple(names[1:]), epoch, limits)

    def _still_idle(self, cursor: Cursor) -> Reading | None:
        """A reading without a page if nothing has ended since the last one on this backend."""
        idle = self._idle
        if idle is None or idle.generation != self._session.generation:
            return None
        row = self._session.row(postgres_sql.poll())
        if (row["pid"], row["snapshot"], cursor.done) != (idle.pid, idle.snapshot, idle.done):
            return None
        return self._reading(row, None)

    def _reading(self, row: Mapping[str, Any], page: StreamPage | None) -> Reading:
        return Reading(self._server.identity_of(row), self._server.finished(row).clock, page)

    def _tables_of(self, cursor: Cursor) -> tuple[Snapshot, list[str], Reading]:
        """The tables of the window that are not read yet, in order.

        Asked with one statement when a window opens; remembered while it is read, on the same
        connection; asked again, within the window's bounds, after a restart.
        """
        window, at = cursor.window, cursor.position
        known = self._rest
        if window and at and known and known[:2] == (self._session.generation, window.until):
            names = [n for n in known[2] if self._names.index(n) >= self._names.index(at.table)]
            return window.until, names, Reading({}, 0, None)
        row = self._session.row(
            postgres_sql.probe(list(self._statements.values()), self._server.role),
            {"xip": list(cursor.done.xip), "xmax": cursor.done.xmax, "until": cursor.until_xmax},
        )
        snapshot = self._server.finished(row)
        if self._server.is_behind(cursor, row):
            return snapshot, [], self._reading(row, None)
        check_forward(cursor, snapshot)
        check_pruned(cursor, row["pruned_txid"])
        found = [self._names[ordinal] for ordinal in row["logs"]]
        if window and at:
            first = self._names.index(at.table)
            found = [at.table] + [n for n in found if self._names.index(n) > first]
        elif window and not found:
            found = self._names[:1]  # pruned meanwhile: read it as empty, and so close the window
        if window is None and not found:
            self._idle = _Idle(self._session.generation, row["pid"], row["snapshot"], cursor.done)
        until = window.until if window else snapshot
        self._rest = (self._session.generation, until, tuple(found))
        return snapshot, found, self._reading(row, None)

    def _page(
        self, cursor: Cursor, at: Position, rest: tuple[str, ...], epoch: int, limits: Limits
    ) -> Reading:
        assert cursor.window is not None
        statements, size = self._statements[at.table], self._sizes[at.table]
        parameters = {
            "xip": list(cursor.done.xip), "xmax": cursor.done.xmax, "until": cursor.until_xmax,
            "at_txid": at.txid, "at_seq": at.seq, "at_item": at.item,
            **self._server.parameters(epoch),
        }  # fmt: skip
        while True:
            parameters["limit"] = size.within(limits)
            row = self._try(statements.page, parameters, size)
            if row is _SMALLER:
                continue
            if row is not None:
                page = self._built(statements, row, epoch)
            else:
                row = self._session.row(statements.page_ids, parameters)
                page = self.lookup(at.table, row["ids"] or [], epoch)
            break
        check_forward(cursor, self._server.finished(row))
        check_pruned(cursor, row["pruned_txid"])
        last = Position(at.table, *row["last"]) if row["last"] else None
        full = row["entries"] >= parameters["limit"]
        after = cursor.after(cursor.window.until, last, full, rest)
        stream = StreamPage(page, after, row["truncated"], cursor.window.until.clock)
        return self._reading(row, stream)

    # -- loads and lookups ------------------------------------------------------------------

    def load(
        self, document: str, after: tuple[str, ...] | None, epoch: int, limits: Limits
    ) -> LoadPage:
        """The rows whose keys follow `after`, in the order of the key."""
        self.connect()
        self._server.look()
        statements, size = self._statements[document], self._sizes[document]
        query = statements.load_first if after is None else statements.load
        parameters = {**self._server.parameters(epoch), **_key_parameters(after or ())}
        while True:
            limit = parameters["limit"] = size.within(limits)
            row = self._try(query, parameters, size)
            if row is _SMALLER:
                continue
            if row is not None:
                page = self._built(statements, row, epoch)
                return LoadPage(page, tuple(row["last"]) if row["entries"] == limit else None)
            if limit == 1:
                break
            size.shrink(limit)
        query = statements.load_key_first if after is None else statements.load_key
        keys = self._session.rows(query, parameters)
        if not keys:
            return LoadPage(self.lookup(document, [], epoch), None)
        key = tuple(keys[0]["key"])
        return LoadPage(self.lookup(document, [ids.encode(key)], epoch), key)

    def lookup(self, document: str, wanted: Sequence[str], epoch: int) -> Page:
        """These documents as they are now; halves a list that cannot be built down to the id."""
        self.connect()
        self._server.look()
        statements = self._statements[document]
        columns = len(statements.table.key)
        keys = [
            (id, None if "\0" in id else ids.decode(id, columns)) for id in dict.fromkeys(wanted)
        ]
        known = [(id, key) for id, key in keys if key is not None]
        pages = [self._lookup(statements, known, epoch)]
        foreign = [id for id, key in keys if key is None]
        if foreign:
            pages.append(self._deletes(statements, foreign, epoch))
        return _joined(pages)

    def _lookup(
        self, statements: Statements, keys: list[tuple[str, tuple[str, ...]]], epoch: int
    ) -> Page:
        columns = len(statements.table.key)
        parameters = {**self._server.parameters(epoch), "ids": [id for id, _ in keys]}
        for n in range(columns):
            parameters[f"k{n + 1}"] = [key[n] for _, key in keys]
        try:
            row = self._session.raw_row(statements.lookup, parameters)
            return self._built(statements, row, epoch)
        except psycopg2.Error as error:
            self._session.drop_if_broken()
            if not (is_poison(error) or (is_too_much(error) and len(keys) > 1)):
                name = statements.table.document.name
                raise translate(error, f"look up documents of {name}") from None
            if len(keys) == 1:
                return self._refused(statements, *keys[0], epoch, reason(error))
        middle = len(keys) // 2
        halves = keys[:middle], keys[middle:]
        return _joined([self._lookup(statements, half, epoch) for half in halves])

    def _refused(
        self, statements: Statements, id: str, key: tuple[str, ...], epoch: int, why: str
    ) -> Page:
        """One id that cannot be looked up: no key of this table, or a row that cannot be built."""
        try:
            self._session.raw_row(statements.cast_key, _key_parameters(key))
        except psycopg2.Error as error:
            if not is_poison(error):
                raise translate(error, "look up a document") from None
            return self._deletes(statements, [id], epoch)
        page = self._deletes(statements, [], epoch)
        dead = DeadLetter(page.document, id, page.version, why)
        return _joined([page], (dead,))

    def _deletes(self, statements: Statements, wanted: Sequence[str], epoch: int) -> Page:
        """Delete actions for ids that no row of the table can ever have."""
        fields = self._server.page_fields(self._server.place(), epoch)
        version = fields["version"]
        lines = [
            json.dumps({"delete": {"_id": id, "version": version, "version_type": "external_gte"}},
                       ensure_ascii=False, separators=(",", ":")) + "\n"
            for id in wanted
        ]  # fmt: skip
        return Page(
            document=statements.table.document.name, body="".join(lines).encode(),
            documents=len(lines), read_at_seconds=time.monotonic(), **fields,
        )  # fmt: skip

    # -- shared -----------------------------------------------------------------------------

    def _try(
        self, query: Any, parameters: dict[str, Any], size: PageSize
    ) -> dict[str, Any] | None:
        """The page's row; None if a row cannot be built, _SMALLER to ask for fewer."""
        try:
            return self._session.raw_row(query, parameters)
        except psycopg2.errors.UndefinedColumn as error:
            raise Discontinuity(f"a column is gone: {reason(error)}") from None
        except psycopg2.Error as error:
            self._session.drop_if_broken()
            if is_too_much(error) and parameters["limit"] > 1:
                size.shrink(parameters["limit"])
                return _SMALLER
            if is_poison(error):
                return None
            raise translate(error, "read a page") from None

    def _built(self, statements: Statements, row: dict[str, Any], epoch: int) -> Page:
        name = statements.table.document.name
        if not row["unassigned"]:
            raise PreconditionError(
                f"reading document {name} assigned a transaction id",
                "its condition or a type of its table calls a function that writes",
            )
        fields = self._server.page_fields(row, epoch)
        dead = tuple(
            DeadLetter(name, id, row["version"], f"id is longer than {MAX_ID_BYTES} bytes")
            for id in row["long_ids"] or ()
        )
        body = row["body"] + b"\n" if row["body"] else b""
        self._sizes[name].learn(row["documents"], len(body))
        return Page(
            document=name, body=body, documents=row["documents"], dead=dead,
            read_at_seconds=time.monotonic(), fingerprint=row["fingerprint"] or "gone", **fields,
        )  # fmt: skip


_SMALLER: dict[str, Any] = {}


def _key_parameters(key: Sequence[str]) -> dict[str, str]:
    return {f"k{n}": value for n, value in enumerate(key, 1)}


def _joined(pages: Sequence[Page], dead: tuple[DeadLetter, ...] = ()) -> Page:
    """Several lookups as one page: the last one's gate covers them all."""
    if len(pages) == 1 and not dead:
        return pages[0]
    last = pages[-1]
    return Page(
        document=last.document,
        body=b"".join(page.body for page in pages),
        documents=sum(page.documents for page in pages),
        version=max(page.version for page in pages),
        dead=tuple(letter for page in pages for letter in page.dead) + dead,
        ready=last.ready,
        exact=all(page.exact for page in pages),
        place=max(page.place for page in pages),
        read_at_seconds=pages[0].read_at_seconds,
        fingerprint=next((page.fingerprint for page in pages if page.fingerprint), ""),
    )
