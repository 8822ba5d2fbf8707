"""What a change log still holds of single documents, and keys as PostgreSQL writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import psycopg2

from txid_sync.errors import UsageError
from txid_sync.model import LogEntry, LogView
from txid_sync.snapshot import Snapshot
from txid_sync.sources.base import Source
from txid_sync.sources.postgres_errors import is_poison, reason, translate
from txid_sync.sources.postgres_prepared import array
from txid_sync.sources.postgres_server import Primary
from txid_sync.sources.postgres_session import Session
from txid_sync.sources.postgres_sql import Statements
from txid_sync.sources.refusals import check_key


class PostgresLog(Source):
    """The part of the PostgreSQL source that looks into the logs."""

    _session: Session
    _server: Primary
    _statements: dict[str, Statements]

    def log(self, document: str, ids: Sequence[str], done: Snapshot, limit: int) -> LogView:
        """The entries that `done` does not count, in one statement."""
        self.connect()
        self._server.look()
        known = [id for id in ids if "\0" not in id]
        parameters = {
            "xip": array(done.xip), "xmax": done.xmax, "ids": array(known), "limit": limit,
        }  # fmt: skip
        row = self._session.row(self._statements[document].log, parameters)
        entries = [LogEntry(id, txid) for id, txid in json.loads(row["entries"] or "[]")]
        return LogView(
            identity=self._server.identity_of(row),
            snapshot=self._server.finished(row),
            pruned_txid=row["pruned_txid"],
            entries=tuple(entries),
            complete=row["complete"],
        )

    def key_of(self, document: str, texts: Sequence[str]) -> tuple[str, ...]:
        """The key as the server writes it: `007` is the integer `7`."""
        self.connect()
        statements = self._statements[document]
        check_key(document, [column.name for column in statements.table.key], texts)
        parameters = {f"k{n}": text for n, text in enumerate(texts, 1)}
        try:
            row = self._session.raw_row(statements.key_texts, parameters)
        except ValueError as error:
            raise UsageError(f"this is no key of {document}: {error}") from None
        except psycopg2.Error as error:
            self._session.drop_if_broken()
            if not is_poison(error):
                raise translate(error, "read a key") from None
            raise UsageError(f"this is no key of {document}: {reason(error)}") from None
        return tuple(row["key"])

