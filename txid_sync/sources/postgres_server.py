"""What a statement's answer means, by the role of the server: this is the primary.

A snapshot of the primary shows what is in progress, so each statement brings its own version; what
it has read is durable once the WAL up to its place is flushed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from txid_sync.cursor import Cursor
from txid_sync.errors import SourceUnavailable, TxidSyncError
from txid_sync.recovery import same_history
from txid_sync.snapshot import Snapshot
from txid_sync.sources import postgres_sql
from txid_sync.sources.postgres_session import QUERIES, Gate, Session
from txid_sync.sources.postgres_sql import Table

GATE_SECONDS = 30.0
POLL = postgres_sql.poll()


@dataclass(slots=True)
class Memory:
    """What was read so far, over all connections: by which identity and up to which place."""

    identity: Mapping[str, str] = field(default_factory=dict)
    place: int = 0
    receiver_missing_since_seconds: float = 0.0

    def read(self, identity: Mapping[str, str], place: int) -> None:
        """Something more was read."""
        kept = self.place if same_history(self.identity, identity) else 0
        self.identity, self.place = dict(identity), max(kept, place)

    def met(self, identity: Mapping[str, str]) -> None:
        """A standby of the same history has answered, perhaps one that has just been started.

        Without a timeline it may be on the way to another one: what was known says more then.
        """
        self.receiver_missing_since_seconds = 0.0
        if identity["timeline"]:
            self.identity = dict(identity)

    def begin(self, identity: Mapping[str, str], place: int) -> None:
        """Whatever was read before does not count any more."""
        self.identity, self.place = dict(identity), place
        self.receiver_missing_since_seconds = 0.0


class Primary:
    """Reads the answers of a server that is not in recovery."""

    role = ""
    def __init__(self, session: Session, memory: Memory) -> None:
        self._session, self._memory = session, memory

    def arrive(self) -> None:
        """After connecting, or when what was read before is known: wait for the server's place."""

    def look(self) -> None:
        """Ask what has to be known before a page is read: nothing here."""

    def parameters(self, epoch: int) -> dict[str, Any]:
        """Of a page's statement, for its version."""
        return {"epoch": epoch}

    def asked(self) -> dict[str, Any]:
        """What tells which transactions have ended by now, and which server answered."""
        return self._session.row(POLL)

    def finished(self, row: Mapping[str, Any]) -> Snapshot:
        """The finished set that this answer may count on."""
        return Snapshot.parse(row["snapshot"])

    def now(self) -> Snapshot:
        """The finished set of now."""
        return Snapshot.parse(self._session.row(QUERIES["clock"])["snapshot"])

    def begin(self) -> Snapshot:
        """The finished set of now, once it can not be undone by a crash any more."""
        row = self._session.row(QUERIES["begin"])
        gate = Gate(self._session, row["lsn"])
        deadline = time.monotonic() + GATE_SECONDS
        while not gate():
            if time.monotonic() > deadline:
                raise SourceUnavailable("the server does not flush its WAL")
            time.sleep(0.001)
        self._memory.begin({}, 0)
        return Snapshot.parse(row["snapshot"])

    def rebind(self, table: Table) -> None:
        """Empty a log that another cluster wrote; a failure leaves no open transaction."""
        try:
            self._session.run(QUERIES["rebind"], {"relation": table.relation})
        except TxidSyncError:
            self._session.close()
            raise

    def identity(self) -> dict[str, str]:
        """Cluster, history and database that answer now."""
        return self.identity_of(self._session.row(postgres_sql.identity()))

    def identity_of(self, row: Mapping[str, Any]) -> dict[str, str]:
        """The same, as a statement has told it beside other things."""
        self._session.check_backend(row["pid"])
        return {name: row[name] for name in ("system_identifier", "timeline", "database_oid")}

    def is_behind(self, cursor: Cursor, row: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Whether the cursor is of another history, which the identity will tell."""
        return False

    def page_fields(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Version, gate and server of the page that this answer makes."""
        ready = Gate(self._session, row["lsn"])
        return {"version": row["version"], "ready": ready, "identity": self.identity_of(row)}

    def place(self, epoch: int) -> dict[str, Any]:
        """The same of a page that is made without a statement of its own."""
        return self._session.row(postgres_sql.place(self.role), self.parameters(epoch))
