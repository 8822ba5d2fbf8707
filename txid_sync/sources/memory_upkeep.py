"""What the source in memory may write: entries of readers, prunings, the marker."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from txid_sync.model import Document
from txid_sync.sources.base import Source
from txid_sync.sources.memory_database import MemoryDatabase
from txid_sync.sources.memory_look import Look
from txid_sync.sources.memory_wal import Mark, Wants, wanted_of


class MemoryUpkeep(Source):
    """Each call that writes is one short transaction; all others of the source only read."""

    database: MemoryDatabase
    documents: dict[str, Document]

    @abstractmethod
    def _look(self) -> Look:
        """Begin a statement."""

    def prune(
        self, document: str, reader: str, wanted: int | None, batch: int  # noqa: ARG002
    ) -> int:
        """Note what a reader wants, delete all that nobody wants."""
        self._look()
        return self.database.upkeep(self.documents[document].table, reader, wanted)

    def forget(self, reader: str) -> None:
        """Hold nothing for a reader."""
        self._look()
        database = self.database
        for table in database.state.tables:
            if reader in wanted_of(database.state.wal, table.name):
                database.append(Wants(database.draw(), table.name, reader, 0), flush=True)
                database.change(latest_ended=database.state.next_txid - 1)

    def mark(self, name: str, nonce: str) -> Mapping[str, str]:
        """Write a marker; it is flushed."""
        self._look()
        record = Mark(self.database.draw(), name, nonce)
        self.database.append(record, flush=True)
        self.database.change(latest_ended=record.xid)
        return self.database.identity()

    def marker(self, name: str) -> tuple[Mapping[str, str], str]:
        """The last marker of this name in the WAL."""
        self._look()
        wal = self.database.state.wal
        found = [r.nonce for r in wal if isinstance(r, Mark) and r.name == name]
        return self.database.identity(), found[-1] if found else ""
