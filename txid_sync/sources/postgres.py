"""PostgreSQL as a source: pages of the change log, loads and lookups, each in one statement.

A page is one plain SELECT in autocommit at READ COMMITTED, so in one snapshot that is taken after
its table locks; it returns the body of a bulk request as bytes, the snapshot, the place of its last
key, the WAL position for the gate, the identity of the server and the table's fingerprint.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from txid_sync.cursor import Cursor, Position
from txid_sync.model import Document, Limits, Page, Reading, Schema, StreamPage, clock_of
from txid_sync.pagesize import PageSize
from txid_sync.share import WHOLE, Share
from txid_sync.snapshot import Snapshot
from txid_sync.sources import postgres_sql
from txid_sync.sources.postgres_catalog import (
    check_condition,
    check_hashes,
    check_triggers,
    find_table,
    resolve,
    schema_of,
)
from txid_sync.sources.postgres_prepared import Prepared, array
from txid_sync.sources.postgres_rows import SMALLER, PostgresRows
from txid_sync.sources.postgres_sample import points
from txid_sync.sources.postgres_server import Memory, Primary
from txid_sync.sources.postgres_session import QUERIES, Session, search_path
from txid_sync.sources.postgres_sql import Statements
from txid_sync.sources.postgres_standby import Standby
from txid_sync.sources.postgres_upkeep import PostgresUpkeep
from txid_sync.sources.refusals import check_forward, check_pruned


class PostgresSource(PostgresRows, PostgresUpkeep):
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
        self._probe: Prepared
        self._sizes: dict[str, PageSize] = {}
        self._described: tuple[str, dict[str, Schema]] | None = None
        # A poll that found nothing: while its answer stays the same, nothing has ended.
        self._idle: tuple[int, Mapping[str, Any], Snapshot] | None = None
        self._rest: tuple[int, Snapshot, tuple[str, ...]] | None = None

    # -- connection -------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect, pin the session, find every table and its log; a no-op while connected."""
        if self._session.connected and self._statements:
            return
        self._idle = self._rest = self._described = None
        self._statements = {}
        self._session.connect()
        kind = Standby if self._session.in_recovery else Primary
        self._server = kind(self._session, self._memory)
        self._server.arrive()
        found = [(d, resolve(self._session, d)) for d in self._documents.values()]
        self._session.run(search_path([]))
        check_hashes(self._session, self._share)
        tables = [find_table(self._session, document, table) for document, table in found]
        for table in tables:
            check_triggers(self._session, table)
        schemas = [column.operator_schema for table in tables for column in table.key]
        self._session.run(search_path(schemas))
        self._statements = {
            table.document.name: postgres_sql.compose(table, ordinal, kind.role, self._share)
            for ordinal, table in enumerate(tables)
        }
        self._probe = postgres_sql.probe(list(self._statements.values()), kind.role)
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
        """The schema of every document; raises PreconditionError if capture is not complete.

        One statement tells whether anything has changed since the last time on this connection.
        """
        self.connect()
        tables = [statements.table for statements in self._statements.values()]
        parameters = {"relations": array([table.relation for table in tables])}
        found = self._session.row(QUERIES["catalog"], parameters)
        catalog, rows = found["catalog"], found["rows"]
        if self._described is None or self._described[0] != catalog:
            for table in tables:
                check_triggers(self._session, table)
            schemas = {n: schema_of(self._session, s) for n, s in self._statements.items()}
            self._described = catalog, schemas
        known = zip(self._described[1].items(), rows, strict=True)
        return {name: replace(schema, rows=count) for (name, schema), count in known}

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
        opened, names, reading = self._tables_of(cursor)
        if not names:
            return reading
        at = cursor.position
        if at is None or at.table != names[0]:
            at = Position(names[0], 0, 0, 0)
        return self._page(opened, at, tuple(names[1:]), epoch, limits)

    def _tables_of(self, cursor: Cursor) -> tuple[Cursor, list[str], Reading]:
        """The cursor with a window, and the tables of that which are not read yet, in order.

        Asked when a window opens; remembered while it is read, on the same connection; asked again,
        within the window's bounds, after a restart.
        """
        window, at, known = cursor.window, cursor.position, self._rest
        if window and at and known and known[:2] == (self._session.generation, window.until):
            names = [n for n in known[2] if self._names.index(n) >= self._names.index(at.table)]
            return cursor, names, Reading({}, 0, None)
        asked = self._server.asked()
        poll = self._session.generation, asked, cursor.done
        if window is None and poll == self._idle:
            return cursor, [], self._reading(asked)
        snapshot = self._server.finished(asked)
        until = window.until if window else snapshot
        opened = cursor.open(until)
        row = self._session.row(self._probe, _bounds(opened))
        reading = self._reading({**asked, **row})
        if self._server.is_behind(cursor, row):
            return cursor, [], reading
        check_forward(cursor, snapshot)
        check_pruned(cursor, row["pruned_txid"])
        found = [self._names[ordinal] for ordinal in row["logs"]]
        if window and at:
            first = self._names.index(at.table)
            found = [at.table] + [n for n in found if self._names.index(n) > first]
        elif window and not found:
            found = self._names[:1]  # pruned meanwhile: read it as empty, and so close the window
        self._idle = poll if asked and not found else None
        self._rest = (self._session.generation, until, tuple(found))
        return opened, found, reading

    def _reading(self, row: Mapping[str, Any]) -> Reading:
        """Of no page."""
        return Reading(self._server.identity_of(row), self._server.finished(row).clock, None)

    def _page(
        self, cursor: Cursor, at: Position, rest: tuple[str, ...], epoch: int, limits: Limits
    ) -> Reading:
        statements, size = self._statements[at.table], self._sizes[at.table]
        parameters = self._parameters(cursor, at, epoch)
        while True:
            parameters["limit"] = size.within(limits)
            row = self._try(statements.page, parameters, size)
            if row is SMALLER:
                continue
            if row is not None:
                page = self._built(statements, row)
            else:
                row = self._session.row(statements.page_ids, parameters)
                page = self.lookup(at.table, row["ids"] or [], epoch)
            break
        return self._moved(cursor, row, rest, page, row["entries"] >= parameters["limit"])

    def _parameters(self, cursor: Cursor, at: Position, epoch: int) -> dict[str, Any]:
        first = max((cursor.done.xmax, 0), (at.txid, at.seq))  # of the second range
        return {
            **_bounds(cursor), "at_txid": at.txid, "at_seq": at.seq, "at_item": at.item,
            "from_txid": first[0], "from_seq": first[1], **self._server.parameters(epoch),
        }  # fmt: skip

    def _moved(
        self, cursor: Cursor, row: dict[str, Any], rest: tuple[str, ...], page: Page, full: bool
    ) -> Reading:
        """A reading of what a statement found of the window in one table."""
        assert cursor.window is not None
        check_pruned(cursor, row["pruned_txid"])
        last = Position(page.document, *row["last"]) if row["last"] else None
        after = cursor.after(cursor.window.until, last, full, rest)
        stream = StreamPage(page, after, row["truncated"], cursor.window.until.clock)
        return Reading(self._server.identity_of(row), clock_of(page.version), stream)

    def skim(self, cursor: Cursor, epoch: int, entries: int) -> tuple[Reading, Sequence[str]]:
        """The next entries of the window as distinct ids."""
        self.connect()
        self._server.look()
        opened, names, reading = self._tables_of(cursor)
        at = cursor.position
        if not names or at is None or at.table != names[0]:
            return reading, ()
        parameters = {**self._parameters(opened, at, epoch), "limit": entries}
        row = self._session.row(self._statements[at.table].page_ids, parameters)
        page = Page(
            document=at.table, body=b"", documents=0, read_at_seconds=time.monotonic(),
            fingerprint=row["fingerprint"] or "gone", **self._server.page_fields(row),
        )  # fmt: skip
        full = row["entries"] >= entries
        return self._moved(opened, row, tuple(names[1:]), page, full), row["ids"] or ()

    def sample(self, cursor: Cursor) -> bool:
        """By some 1,000 entries, in one statement."""
        self.connect()
        at = cursor.position
        if at is None or at.table not in self._statements:
            return False
        statement = self._statements[at.table].sample
        return bool(self._session.row(statement, points(cursor, at))["repeats"])

    def page_keys(self, document: str, limits: Limits) -> int:
        """As learnt from the pages before."""
        return self._sizes[document].within(limits)

    def _relation(self, document: str) -> str:
        return self._statements[document].table.relation


def _bounds(cursor: Cursor) -> dict[str, Any]:
    """Of the open window, for a statement (rule 2 of the cursor)."""
    return {
        "ended": array(cursor.ended), "xmax": cursor.done.xmax, "until": cursor.until_xmax
    }  # fmt: skip
