"""Whether a text is a libpq connection string at all; nothing is taken from it or added to it."""

from __future__ import annotations

import psycopg2
from psycopg2 import extensions

from txid_sync.errors import UsageError


def check_dsn(dsn: str) -> str:
    """The same text; raises UsageError, which does not quote it, if libpq cannot read it."""
    try:
        extensions.parse_dsn(dsn)
    except (psycopg2.Error, UnicodeError):
        raise UsageError(
            "POSTGRES_CONFIG is not a libpq connection string",
            "for example 'host=localhost dbname=sync-test' or postgresql://localhost/sync-test",
        ) from None
    return dsn
