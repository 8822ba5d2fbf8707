"""What an error of PostgreSQL means to the pipeline: one table from SQLSTATE to our own error."""

from __future__ import annotations

import re

import psycopg2

from txid_sync.errors import PreconditionError, SourceUnavailable, TxidSyncError

# Prefixes of SQLSTATE after which the same statement may work later, perhaps on a new connection.
_AWAY = (
    "08",  # connection exception
    "25P02",  # the transaction was aborted before
    "25P03",  # idle in transaction timeout
    "40",  # serialization failure, deadlock
    "53",  # out of disk, memory, connections
    "55P03",  # lock not available
    "57014",  # cancelled (also by statement_timeout)
    "57P",  # shutdown, crash, starting up, database dropped
    "58",  # system error
)

_HINTS = {
    "42501": "grant it, or run 'txid-sync check' to see all that is missing",
    "42P01": "check the table's name; the change logs are made by 'txid-sync init'",
    "3F000": "run 'txid-sync init'",
    "42703": "check the columns and the condition in the configuration",
    "42883": "check the condition in the configuration",
    "55000": "did the role of the server (primary, standby) change?",
}

# A statement that was prepared on this connection is missing, or there before: another backend.
_ANOTHER_BACKEND = ("26000", "42P05")
POOLED = (
    "the statements of one connection are answered by several backends of PostgreSQL:"
    " a transaction pooler stands between"
)
POOLED_HINT = "connect to PostgreSQL itself, or to a pool in session mode"

# libpq reports a failed connect without a SQLSTATE; these texts mean that trying again is no use.
_REFUSED = re.compile(
    r"password authentication failed|no password supplied|no pg_hba\.conf entry"
    r'|role ".*" does not exist|database ".*" does not exist|permission denied for database'
    r"|is not permitted to log in|invalid (connection option|value for parameter|port number)"
    r"|definition of service|missing \"=\" after|invalid URI|certificate|SSL is not enabled"
    r"|server does not support SSL|authentication failed"
)

# A value that cannot be converted, a result that is too large: the row's fault, not the server's.
POISON = ("22", "54000", "54001")
# A result over 1 GB; cancelled, by statement_timeout or for what a standby has to replay.
TOO_MUCH = ("54000", "57014", "40001")


def translate(error: psycopg2.Error, what: str) -> TxidSyncError:
    """Our error for one that the driver raised while doing `what`."""
    code = error.pgcode or ""
    text = _first_line(error)
    if not code:
        if _REFUSED.search(str(error)):
            return PreconditionError(f"{what}: {text}", "check the connection string and the role")
        return SourceUnavailable(f"{what}: {text}")
    if code in _ANOTHER_BACKEND:
        return PreconditionError(POOLED, POOLED_HINT)
    if code.startswith(_AWAY):
        return SourceUnavailable(f"{what}: {text}")
    return PreconditionError(f"{what}: {text} (SQLSTATE {code})", _HINTS.get(code, ""))


def is_poison(error: psycopg2.Error) -> bool:
    """Whether a page failed because of what a row holds."""
    return bool(error.pgcode) and str(error.pgcode).startswith(POISON)


def is_too_much(error: psycopg2.Error) -> bool:
    """Whether a statement might work if it were asked for less."""
    return error.pgcode in TOO_MUCH


def reason(error: psycopg2.Error) -> str:
    """The primary message without detail or context, which may hold row contents."""
    return f"{_first_line(error)} (SQLSTATE {error.pgcode})"


def _first_line(error: psycopg2.Error) -> str:
    text = error.diag.message_primary or str(error).strip() or type(error).__name__
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
