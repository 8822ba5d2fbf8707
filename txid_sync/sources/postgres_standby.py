"""What a statement's answer means on a hot standby; the theory and its rules are in recovery.py.

Before each page the standby is asked which transactions are in progress.  There is no gate: only
flushed WAL is ever replayed.  What has been read is remembered over connections, so that a standby
that came back at an earlier place is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from txid_sync import recovery
from txid_sync.cursor import Cursor
from txid_sync.errors import PreconditionError, SourceBehind, SourceUnavailable
from txid_sync.model import version_of
from txid_sync.recovery import may_be_same_history, same_history
from txid_sync.snapshot import Snapshot
from txid_sync.sources import postgres_sql
from txid_sync.sources.postgres_prepared import array
from txid_sync.sources.postgres_server import Memory, Primary
from txid_sync.sources.postgres_session import QUERIES, Session
from txid_sync.sources.postgres_sql import Table

ASKED_AT_ONCE = 100_000  # txids; 0.3 microseconds each
RECEIVER_SECONDS = 30.0  # for which a standby's WAL receiver may be missing before a resync


class Standby(Primary):
    """Reads the answers of a server in recovery."""

    role = "_standby"

    def __init__(self, session: Session, memory: Memory) -> None:
        super().__init__(session, memory)
        self._ended: Snapshot | None = None

    def arrive(self) -> None:
        """Rule 5: raise SourceBehind until the server has replayed what was read before."""
        row = self._session.row(postgres_sql.standby())
        identity, memory = self._told(row), self._memory
        same = same_history(memory.identity, identity)
        if not (same or (row["sees_receiver"] and may_be_same_history(memory.identity, identity))):
            return
        if row["place"] < memory.place:
            raise SourceBehind(
                f"waiting: the standby has replayed up to {_lsn(row['place'])}, "
                f"what was read before reaches {_lsn(memory.place)}"
            )
        if same:
            memory.receiver_missing_since_seconds = 0.0
        else:
            self._wait_for_receiver()

    def _wait_for_receiver(self) -> None:
        """A WAL receiver starts once the WAL that is there has been replayed."""
        memory, now = self._memory, time.monotonic()
        memory.receiver_missing_since_seconds = memory.receiver_missing_since_seconds or now
        if now - memory.receiver_missing_since_seconds < RECEIVER_SECONDS:
            raise SourceBehind(
                "waiting: the standby's WAL receiver does not run, so its timeline is not known"
            )

    # -- rules 1 to 4 -------------------------------------------------------------------------

    def look(self) -> None:
        """Ask until it is known what has ended; always before the page is read."""
        while True:
            question = recovery.question(self._ended, ASKED_AT_ONCE)
            parameters = {
                "open": array(question.open), "start": question.start, "limit": question.limit,
            }  # fmt: skip
            row = self._session.row(QUERIES["running"], parameters)
            if not row["in_recovery"]:
                self._promoted()
            answer = recovery.Answer(row["xmin"], row["x1"], row["bound"], tuple(row["running"]))
            self._ended = recovery.finished(answer)
            if answer.complete:
                return

    def _promoted(self) -> None:
        self._session.close()
        raise SourceUnavailable("the standby was promoted, or its recovery has ended")

    # -- answers ------------------------------------------------------------------------------

    def parameters(self, epoch: int) -> dict[str, Any]:
        """Of a page's statement, for its version."""
        return {"epoch": epoch, "version": version_of(epoch, self._known.clock)}

    @property
    def _known(self) -> Snapshot:
        assert self._ended is not None, "the standby was not asked"
        return self._ended

    def asked(self) -> dict[str, Any]:
        """Nothing more: it was asked before (rule 2)."""
        return {}

    def finished(self, row: Mapping[str, Any]) -> Snapshot:  # noqa: ARG002
        """What was known to have ended before the statement (rule 2)."""
        return self._known

    def now(self) -> Snapshot:
        """The finished set of now."""
        self.look()
        return self._known

    def begin(self) -> Snapshot:
        """The finished set of now; whatever was read before does not count any more."""
        row = self._session.row(postgres_sql.standby())
        self._memory.begin(self._told(row), row["place"])
        return self.now()

    def rebind(self, table: Table) -> None:
        """A foreign log cannot be emptied here."""
        raise PreconditionError(
            f"the log of table {table.document.table} was written by another cluster, or before "
            "the txids were lowered, and a standby cannot empty it",
            "run 'txid-sync init' on the primary",
        )

    def identity(self) -> dict[str, str]:
        """Cluster, history, database and server that answer now."""
        return self.identity_of(self._session.row(postgres_sql.identity(self.role)))

    def identity_of(self, row: Mapping[str, Any]) -> dict[str, str]:
        """The same, as a statement has told it beside other things.

        A WAL receiver that has just connected, and was seen so by `arrive`, may be turned away by
        its primary (a slot still in use) and come back after some seconds.
        """
        identity, known = self._told(row), self._memory.identity
        if same_history(known, identity):
            self._memory.met(identity)
        elif may_be_same_history(known, identity):
            self._wait_for_receiver()
        return identity

    def _told(self, row: Mapping[str, Any]) -> dict[str, str]:
        """Rule 7: what a promoted server says is not used."""
        if row["role"] != "standby":
            self._promoted()
        return {**super().identity_of(row), "role": row["role"], "server": row["server"]}

    def is_behind(self, cursor: Cursor, row: Mapping[str, Any]) -> bool:
        """Rule 5, the second half."""
        if self._known.contains(cursor.done):
            return False
        if same_history(self._memory.identity, self.identity_of(row)):
            self._session.close()
            raise SourceBehind("waiting: the standby has not replayed again what is done")
        return True

    def page_fields(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Version, place and server of the page that this answer makes."""
        identity = self.identity_of(row)
        self._memory.read(identity, row["lsn"])
        place = {"exact": False, "place": row["lsn"]}
        return {"version": row["version"], "identity": identity, **place}


def _lsn(place: int) -> str:
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"
