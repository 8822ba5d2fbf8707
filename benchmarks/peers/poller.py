"""What many teams write, or have Logstash do: poll for rows with a newer timestamp.

A program of its own, run in PGSync's environment (Elasticsearch's client 7.17 and psycopg2):
`poller.py DSN URL INDEX TABLE STATE_FILE SECONDS`.  As in Elastic's guide to Logstash's jdbc input
it asks for `updated > last seen and updated < now()`, in that order, and sends with `helpers.bulk`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras
from elasticsearch import Elasticsearch, helpers

CHUNK = 2000
BEGINNING = "-infinity"


def actions(cursor: Any, index: str, seen: list[str]) -> Iterator[dict[str, Any]]:
    """One per row; the timestamp of the last one is left in `seen`."""
    for row in cursor:
        seen[:] = [row.pop("seen")]
        yield {"_index": index, "_id": str(row["id"]), "_source": row}


def poll(session: Any, client: Elasticsearch, index: str, table: str, last: str) -> str:
    """Send what is newer; gives the newest timestamp seen."""
    seen = [last]
    statement = (
        f"select *, updated::text as seen from {table}"
        " where updated > %s and updated < now() order by updated"
    )
    with session, session.cursor("rows", psycopg2.extras.RealDictCursor) as cursor:
        cursor.itersize = CHUNK
        cursor.execute(statement, (last,))
        helpers.bulk(client, actions(cursor, index, seen), chunk_size=CHUNK)
    return seen[0]


def main(dsn: str, url: str, index: str, table: str, state: str, seconds: str) -> None:
    """Poll for ever; the place is saved after each poll that brought something."""
    client = Elasticsearch([url], timeout=60)
    file = Path(state)
    last = file.read_text() if file.exists() else BEGINNING
    session = psycopg2.connect(dsn)
    while True:
        now = poll(session, client, index, table, last)
        if now != last:
            file.write_text(now)
            last = now
        time.sleep(float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
