"""Transactions of several writers over the database in memory, for state machines."""

from __future__ import annotations

from txid_sync.sources.memory_database import MemoryDatabase, Session


class Writers:
    """Each writer has one transaction at a time."""

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database
        self.sessions: dict[int, Session] = {}
        self.numbers = 0

    def session(self, writer: int) -> Session:
        """The writer's open transaction; begins one if there is none."""
        session = self.sessions.get(writer)
        if session is None or not self.database.alive(session.pid):
            session = self.sessions[writer] = self.database.connect()
            session.begin()
        return session

    def end(self, writer: int, how: str) -> None:
        """Commit, in the end or asynchronously, or abort; nothing if none is open."""
        session = self.sessions.pop(writer, None)
        if session is None or not self.database.alive(session.pid):
            return
        if how == "abort":
            session.abort()
        else:
            session.commit(synchronous=how == "commit")
        session.close()
