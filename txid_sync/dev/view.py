"""Figures that the demo shows: counted at the servers, not reported by the programs."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import connection

from txid_sync.errors import CursorFormatError
from txid_sync.progress.base import Progress
from txid_sync.snapshot import Snapshot
from txid_sync.sql import load

PROGRESS_PATH = "/txid-sync-progress/_search?size=1"
TABLES = "select relation::oid::regclass::text from txid_sync.tracked order by 1"


@dataclass(frozen=True, slots=True)
class Figures:
    """Rows in the source, documents and writes in the sink, and how far the sink is behind."""

    transactions: int = 0
    rows: int = 0
    documents: int = 0
    writes: int = 0
    lag_transactions: int = 0
    greatest_lag_transactions: int = 0
    first_clock: int = 0

    @property
    def lag(self) -> str:
        """The lag as text."""
        return f"{self.lag_transactions:,} transactions"

    @property
    def greatest_lag(self) -> str:
        """The greatest lag seen so far as text."""
        return f"{self.greatest_lag_transactions:,} transactions"


def figures(source: connection, url: str, before: Figures) -> Figures:
    """Ask both servers now; what a server cannot tell at the moment stays as it was."""
    with source.cursor() as cursor:
        cursor.execute("select txid_current_snapshot()::text")
        (text,) = cursor.fetchone() or ("",)
        clock = Snapshot.parse(text).clock
        cursor.execute(TABLES)
        tables = [name for (name,) in cursor.fetchall()]
        rows = 0
        for name in tables:
            cursor.execute(sql.SQL("select count(*) from {}").format(sql.SQL(name)))
            (count,) = cursor.fetchone() or (0,)
            rows += count
    first = before.first_clock or clock
    indices = ",".join(name.split(".")[-1] for name in tables)
    documents, writes = _counts(url, indices, before)
    lag = _lag(url, source, before)
    return Figures(
        clock - first, rows, documents, writes, lag,
        max(lag, before.greatest_lag_transactions), first,
    )  # fmt: skip


def _counts(url: str, indices: str, before: Figures) -> tuple[int, int]:
    with suppress(OSError, ValueError, KeyError):
        _ask(url, f"/{indices}/_refresh?ignore_unavailable=true", "POST")
        total = _ask(url, f"/{indices}/_stats/docs,indexing?ignore_unavailable=true")
        primaries = total["_all"]["primaries"]
        written = primaries["indexing"]["index_total"] + primaries["indexing"]["delete_total"]
        return primaries["docs"]["count"], written
    return before.documents, before.writes


def _lag(url: str, source: connection, before: Figures) -> int:
    """Transactions with unread log rows, by the progress that is stored in the sink."""
    unread = sql.SQL(load("dev.sql")["unread"])
    with suppress(OSError, ValueError, KeyError, IndexError, CursorFormatError):
        hits = _ask(url, PROGRESS_PATH)["hits"]["hits"]
        stored = hits[0]["_source"]["progress"]
        progress = Progress.from_json(stored if isinstance(stored, str) else json.dumps(stored))
        done = progress.cursor.done
        with source.cursor() as cursor:
            cursor.execute("select log from txid_sync.tracked")
            logs = [log for (log,) in cursor.fetchall()]
            waiting = 0
            for log in logs:
                log_table = sql.Identifier("txid_sync", log)
                cursor.execute(unread.format(log=log_table), (done.xmax, list(done.xip)))
                (count,) = cursor.fetchone() or (0,)
                waiting += count
        return waiting
    return before.lag_transactions


def _ask(url: str, path: str, method: str = "GET") -> Any:
    request = urllib.request.Request(url + path, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
