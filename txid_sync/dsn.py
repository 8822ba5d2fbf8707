"""Whether a text is a libpq connection string at all; nothing is taken from it or added to it."""

from __future__ import annotations

import psycopg2
from psycopg2 import extensions

from txid_sync.errors import UsageError

DSN_HINT = "for example 'host=localhost dbname=sync-test' or postgresql://localhost/sync-test"


def is_dsn(text: str) -> bool:
    """Whether libpq can read it; the server is not asked."""
    try:
        extensions.parse_dsn(text)
    except (psycopg2.Error, UnicodeError):
        return False
    return True


def check_dsn(dsn: str) -> str:
    """The same text; raises UsageError, which does not quote it, if libpq cannot read it."""
    if not is_dsn(dsn):
        raise UsageError("POSTGRES_CONFIG is not a libpq connection string", DSN_HINT)
    return dsn
