"""One connection to PostgreSQL: pinned settings, one statement at a time, and the flush gate.

Every statement is sent in autocommit at READ COMMITTED, so that its snapshot is taken after its
table locks (see postgres_prepared.py); nothing is ever left open between two messages.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import psycopg2
from psycopg2 import extensions, sql

from txid_sync.errors import PreconditionError, SourceUnavailable, TxidSyncError
from txid_sync.sources.postgres_errors import POOLED, POOLED_HINT, translate
from txid_sync.sources.postgres_prepared import Prepared
from txid_sync.sources.postgres_watchdog import Watchdog
from txid_sync.sql import load

MINIMUM_VERSION = 130000
STATEMENT_TIMEOUT_SECONDS = 60
ANSWER_SECONDS = 75.0  # longer than the server's own limit: then nobody answers any more
CONNECT_SECONDS = 10  # unless the connection string, or PGCONNECT_TIMEOUT, says something else
FORCE_AFTER_SECONDS = 0.005
_TEXT_OID = 25

QUERIES = load("queries.sql")

# Bodies come as UTF-8 bytes and stay bytes: no decoding of rows on the way through.
_BODY = extensions.new_type((_TEXT_OID,), "TXID_SYNC_TEXT", extensions.BYTES)

_ACTIONS = ("body", "deletes")

_MAY_NOT_WRITE = "run 'txid-sync init --reader ROLE' as the owner of the schema txid_sync"

Query = sql.Composable | Prepared | str


class Session:
    """A connection that comes and goes; `generation` counts how often it was made."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: extensions.connection | None = None
        self._watchdog: Watchdog | None = None
        self._prepared: dict[str, str] = {}
        self.generation = 0
        self.version = 0
        self.in_recovery = False
        self.pid = ""

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be broken."""
        return self._connection is not None and not self._connection.closed

    def connect(self) -> None:
        """Connect and pin the session; raises SourceUnavailable or PreconditionError."""
        self.close()
        try:
            connection = psycopg2.connect(self._dsn, **_connect_timeout(self._dsn))
            connection.autocommit = True
            connection.set_client_encoding("UTF8")  # the driver must know, a statement tells it not
            self._watchdog = Watchdog(connection.fileno(), ANSWER_SECONDS)
            self._connection = connection
        except (psycopg2.Error, UnicodeError) as error:
            if isinstance(error, UnicodeError):
                raise PreconditionError(f"connect to PostgreSQL: {error}") from None
            raise translate(error, "connect to PostgreSQL") from None
        try:
            self._settle()
        except TxidSyncError:
            self.close()
            raise

    def _settle(self) -> None:
        """Check the server and pin the settings; a connection that is not pinned is not kept."""
        server = self.row(QUERIES["server"])
        if server["version"] < MINIMUM_VERSION:
            raise PreconditionError(
                f"the server has version {server['version']}, needed is PostgreSQL 13 or later"
            )
        self.version, self.in_recovery = server["version"], server["in_recovery"]
        self.pid = str(server["pid"])
        self.run(QUERIES["pin"], {"statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s"})

    def close(self) -> None:
        """End the connection; whatever waits for its gate is lost."""
        self.generation += 1
        self._prepared = {}
        if self._watchdog is not None:
            self._watchdog.close()
            self._watchdog = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def run(self, query: Query, parameters: Mapping[str, Any] | None = None) -> None:
        """Run statements that give no rows."""
        with self._cursor() as cursor:
            self._execute(cursor, query, parameters)

    def rows(
        self, query: Query, parameters: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """All rows of one statement, as dictionaries by column name."""
        with self._cursor() as cursor:
            self._execute(cursor, query, parameters)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]

    def row(self, query: Query, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The one row of a statement."""
        rows = self.rows(query, parameters)
        assert len(rows) == 1, f"expected one row, got {len(rows)}"
        return rows[0]

    def writing_row(self, query: Query, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The one row of a statement that writes, in a transaction of its own."""
        self.run(QUERIES["begin_writing"])
        try:
            row = self.row(query, parameters)
            self.run("commit")
        except TxidSyncError as error:
            self._roll_back()
            if isinstance(error, PreconditionError):
                raise PreconditionError(error.message, _MAY_NOT_WRITE) from None
            raise
        return row

    def _roll_back(self) -> None:
        """End a transaction that failed, with the connection if need be."""
        try:
            self.run("rollback")
        except TxidSyncError:
            self.close()

    def raw_row(self, query: Query, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The one row of a page statement: errors of the driver are left as they are, the actions
        come as bytes."""
        with self._cursor() as cursor:
            extensions.register_type(_BODY, cursor)
            with self._watching():
                cursor.execute(self._text(cursor, query), parameters)
            values = cursor.fetchone()
            assert values is not None
            row = dict(zip((c.name for c in cursor.description or ()), values, strict=True))
            return {
                name: value.decode() if isinstance(value, bytes) and name not in _ACTIONS else value
                for name, value in row.items()
            }

    def check_backend(self, pid: str) -> None:
        """Raise PreconditionError if another backend answered than the one that was pinned."""
        if pid != self.pid:
            raise PreconditionError(POOLED, POOLED_HINT)

    def drop_if_broken(self) -> None:
        """Let go of a connection that the server has ended."""
        if self._connection is not None and self._connection.closed:
            self.close()

    def _cursor(self) -> extensions.cursor:
        if self._connection is None or self._connection.closed:
            self.close()
            raise SourceUnavailable("the connection to PostgreSQL is lost")
        return self._connection.cursor()

    def _watching(self) -> AbstractContextManager[None]:
        assert self._watchdog is not None
        return self._watchdog.watching()

    def _text(self, cursor: extensions.cursor, query: Query) -> str | sql.Composable:
        """What is to be sent; a statement that is not yet prepared on this connection is."""
        if not isinstance(query, Prepared):
            return query
        if query.name not in self._prepared:
            prepare, call = query.texts(cursor)
            cursor.execute(prepare)
            self._prepared[query.name] = call
        return self._prepared[query.name]

    def _execute(
        self, cursor: extensions.cursor, query: Query, parameters: Mapping[str, Any] | None
    ) -> None:
        try:
            with self._watching():
                cursor.execute(self._text(cursor, query), parameters or {})
        except psycopg2.Error as error:
            self.drop_if_broken()
            raise translate(error, "query PostgreSQL") from None

    # -- the flush gate ---------------------------------------------------------------------

    def force_flush(self) -> None:
        """Make the server flush its WAL up to here, once."""
        self.run(QUERIES["force_flush_17" if self.version >= 170000 else "force_flush"])

    def flushed(self, lsn: str) -> bool:
        """Whether the WAL is flushed up to this place, asked on this connection."""
        return bool(self.row(QUERIES["flushed"], {"lsn": lsn})["flushed"])


class Gate:
    """Whether what one statement has read is durable; a call is `Page.ready()`.

    Only the connection that read the page may answer: after a crash a new one passes at once,
    with a change in hand that the server has forgotten.
    """

    def __init__(self, session: Session, lsn: str) -> None:
        self._session = session
        self._generation = session.generation
        self._lsn = lsn
        self._asked_at = 0.0
        self._forced = False
        self._passed = False

    def __call__(self) -> bool:
        if self._passed:
            return True
        if self._session.generation != self._generation:
            raise SourceUnavailable("the connection ended before the page it had read was durable")
        self._passed = self._session.flushed(self._lsn)
        now = time.monotonic()
        self._asked_at = self._asked_at or now
        if not self._passed and not self._forced and now - self._asked_at > FORCE_AFTER_SECONDS:
            self._forced = True
            self._session.force_flush()
        return self._passed


def _connect_timeout(dsn: str) -> dict[str, Any]:
    if "connect_timeout" in extensions.parse_dsn(dsn) or "PGCONNECT_TIMEOUT" in os.environ:
        return {}
    return {"connect_timeout": CONNECT_SECONDS}


def search_path(schemas: Sequence[str]) -> sql.Composable:
    """Pin the search path to the schemas that key operators live in (usually none)."""
    names = sorted(set(schemas) - {"pg_catalog"})
    if not names:
        return sql.SQL("set search_path = ''")
    return sql.SQL("set search_path = {}").format(sql.SQL(", ").join(map(sql.Identifier, names)))
