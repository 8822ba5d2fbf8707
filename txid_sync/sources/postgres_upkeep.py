"""What the PostgreSQL source may write: entries of readers, prunings, the marker."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from psycopg2 import sql

from txid_sync.sources import postgres_sql
from txid_sync.sources.base import Source
from txid_sync.sources.postgres_server import Primary
from txid_sync.sources.postgres_session import QUERIES, Session


class PostgresUpkeep(Source):
    """Each call that writes is one short transaction; all others of the session only read."""

    _session: Session
    _server: Primary

    @abstractmethod
    def _relation(self, document: str) -> str:
        """The number of a document's table."""

    def prune(self, document: str, reader: str, wanted: int | None, batch: int) -> int:
        """Note what a reader wants, delete a batch of what nobody wants."""
        self.connect()
        parameters = {"reader": reader, "wanted": wanted, "batch": batch}
        relation = self._relation(document)
        row = self._session.writing_row(QUERIES["upkeep"], {"relation": relation, **parameters})
        return int(row["deleted"])

    def forget(self, reader: str) -> None:
        """Remove a reader of this role."""
        self.connect()
        self._session.writing_row(QUERIES["forget"], {"reader": reader})

    def mark(self, name: str, nonce: str) -> Mapping[str, str]:
        """Write the marker; a standby refuses."""
        self.connect()
        parameters = {"name": name, "nonce": nonce}
        return self._server.identity_of(
            self._session.writing_row(self._with_identity("mark"), parameters)
        )

    def marker(self, name: str) -> tuple[Mapping[str, str], str]:
        """Read the marker; a standby has that of its primary."""
        self.connect()
        row = self._session.row(self._with_identity("marker"), {"name": name})
        return self._server.identity_of(row), row["nonce"] or ""

    def _with_identity(self, block: str) -> sql.Composable:
        return sql.SQL(QUERIES[block]).format(identity=postgres_sql.identity(self._server.role))
