"""The schema `txid_sync` in PostgreSQL: installing it, and which tables it captures.

Each function works in a transaction of its own on a connection that is not inside one.  Errors are
those of errors.py; a refusal carries the server's own message and hint.  The SQL is in
sql/install.sql, tracking.sql, upkeep.sql and uninstall.sql; docs/capture.md tells what it does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TypeVar

import psycopg2
from psycopg2 import errors as pg
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection, cursor

from txid_sync.errors import PreconditionError, TxidSyncError, UsageError
from txid_sync.sources.postgres_errors import translate
from txid_sync.sql import load

VERSION = 3
INSTALL_FILES = ("install.sql", "tracking.sql", "upkeep.sql")
RETRY_FOR_SECONDS = 30.0
PAUSE_SECONDS = 0.2

_T = TypeVar("_T")
_QUERIES = load("schema.sql")
_FOLDER = files("txid_sync.sql")


def sql_path(name: str) -> str:
    """Where one of the SQL files is, for psql."""
    return str(_FOLDER / name)


def install(connection: connection) -> None:
    """Create the schema, or bring it up to date; safe to repeat.

    Raises PreconditionError if a newer version or another role's schema is there.
    """

    def work(cursor: cursor) -> None:
        for file in INSTALL_FILES:
            cursor.execute((_FOLDER / file).read_text(encoding="utf-8"))

    _transaction(connection, "install the schema txid_sync", work)


def uninstall(connection: connection) -> None:
    """Remove the schema, every trigger and, if nothing else uses it, the role.

    The tables are released one after the other, so that no two of them are ever locked at once.
    """
    if installed_version(connection) is not None:
        for relation in _values(connection, "list the tracked tables", "tracked_relations"):
            untrack(connection, str(relation))
    text = (_FOLDER / "uninstall.sql").read_text(encoding="utf-8")
    _transaction(connection, "remove the schema txid_sync", lambda cursor: cursor.execute(text))


def installed_version(connection: connection) -> int | None:
    """The version of the schema in the database; None if it is not installed."""
    what = "read the schema's version"
    if not _values(connection, what, "is_installed")[0]:
        return None
    return int(str(_values(connection, what, "installed_version")[0]))


def track(
    connection: connection,
    table: str,
    capture: str | None = None,
    key: Sequence[str] | None = None,
    *,
    retry_for_seconds: float = RETRY_FOR_SECONDS,
) -> str:
    """Capture a table's changes from now on; gives the name of its log.  Safe to repeat.

    `table` is a name as in a query; `capture` is "statement" or "row" and `key` the columns of a
    unique index; None keeps what there is, or takes the default.  While the table is locked by
    others it is tried again: each attempt gives way to them after half a second.
    """
    parameters: dict[str, object] = {
        "table": table, "capture": capture, "key": None if key is None else list(key)
    }  # fmt: skip
    return str(_patient(connection, "track", table, parameters, retry_for_seconds))


def untrack(
    connection: connection, table: str, *, retry_for_seconds: float = RETRY_FOR_SECONDS
) -> bool:
    """Stop capturing a table and drop its log; False if it was not tracked.

    A table that does not exist any more is named by its number.
    """
    return bool(_patient(connection, "untrack", table, {"table": table}, retry_for_seconds))


def grant_reader(connection: connection, role: str) -> tuple[str, ...]:
    """Let a role read the logs and do their upkeep, also those of tables that are tracked later.

    Gives the statements that the tables' owners still have to run, so that the role can read the
    tracked tables themselves.
    """

    def work(cursor: cursor) -> tuple[str, ...]:
        cursor.execute(_QUERIES["grant_reader"], {"role": role})
        cursor.execute(_QUERIES["missing_grants"], {"role": role})
        return tuple(row[0] for row in cursor.fetchall())

    return _transaction(connection, f"grant rights to {role}", work)


def unregister(connection: connection, reader: str) -> int:
    """Forget a reader of the connection's role, so that it holds no log rows; gives of how many
    logs it was one."""
    found = _values(connection, f"forget {reader}", "unregister", {"reader": reader})
    return int(str(found[0]))


class _BusyError(Exception):
    """The locks were not to be had within the server's short lock_timeout."""


def _patient(
    connection: connection, query: str, table: str, parameters: dict[str, object], seconds: float
) -> object:
    """The first value of a query, run again and again while its locks are held by others."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _values(connection, f"{query} {table}", query, parameters)[0]
        except _BusyError:
            if time.monotonic() > deadline:
                raise PreconditionError(
                    f"{query} {table}: other transactions kept it locked for {seconds:g} s",
                    "end them (pg_locks, pg_stat_activity), or try again at a quieter time",
                ) from None
            time.sleep(PAUSE_SECONDS)


def _values(
    connection: connection, what: str, query: str, parameters: dict[str, object] | None = None
) -> list[object]:
    """The first column of a block of schema.sql."""

    def work(cursor: cursor) -> list[object]:
        cursor.execute(_QUERIES[query], parameters or {})
        return [row[0] for row in cursor.fetchall()]

    return _transaction(connection, what, work)


def _transaction(connection: connection, what: str, work: Callable[[cursor], _T]) -> _T:
    """Do some work in one transaction, and commit it."""
    if connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
        raise UsageError(f"{what}: the connection is inside a transaction", "commit it first")
    autocommit = connection.autocommit
    try:
        connection.autocommit = False
        with connection.cursor() as cursor:
            result = work(cursor)
        connection.commit()
    except (pg.LockNotAvailable, pg.DeadlockDetected):
        raise _BusyError(what) from None
    except psycopg2.Error as error:
        raise _meaning(error, what) from None
    finally:
        if not connection.closed:
            connection.rollback()
            connection.autocommit = autocommit
    return result


def _meaning(error: psycopg2.Error, what: str) -> TxidSyncError:
    """Our error for the server's; refusals carry a hint that the server was taught."""
    message, hint = error.diag.message_primary, error.diag.message_hint
    if isinstance(error, pg.InvalidParameterValue) and message:
        return UsageError(f"{what}: {message}", hint or "")
    if message and hint:
        return PreconditionError(f"{what}: {message}", hint)
    return translate(error, what)
