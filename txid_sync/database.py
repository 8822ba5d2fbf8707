"""A plain connection to the source, for administration and questions."""

from __future__ import annotations

import psycopg2
from psycopg2.extensions import connection

from txid_sync.errors import PreconditionError
from txid_sync.sources.postgres_errors import translate


def connect(dsn: str) -> connection:
    """A connection in autocommit mode; raises SourceUnavailable or PreconditionError."""
    try:
        made = psycopg2.connect(dsn)
    except psycopg2.Error as error:
        raise translate(error, "connect to PostgreSQL") from None
    except UnicodeError as error:  # a message of the server in another encoding
        raise PreconditionError(f"connect to PostgreSQL: {error}") from None
    made.autocommit = True
    return made
