"""A whole synced system in memory, driven by any schedule: database, source, sink, stored progress.

The invariants are those of tests/model/explorer.py; here schedules are long and random, with
savepoints, batches, truncations, loads, loose page sizes and several tables.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.writers import Writers
from txid_sync.cursor import Cursor
from txid_sync.errors import SourceUnavailable
from txid_sync.model import Document, Limits, StreamPage, clock_of
from txid_sync.sinks.memory import MemorySink
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.memory_database import Key, LockConflictError, MemoryDatabase
from txid_sync.sources.memory_wal import Commit, Table, Write

TABLES = (Table("a"), Table("b", key=("x", "y")))
DOCUMENTS = tuple(Document(table.name, f"index-{table.name}") for table in TABLES)
WRITERS = 3


def row_of(key: Key, number: int) -> str:
    """A row whose content was never written before."""
    return '{"key":"' + "/".join(key) + f'","n":{number}}}'


class System(Writers):
    """One syncer between a MemoryDatabase and a MemorySink."""

    def __init__(self, source_class: type[MemorySource] = MemorySource) -> None:
        super().__init__(MemoryDatabase(*TABLES))
        self.source = source_class(self.database, DOCUMENTS)
        self.sink = MemorySink()
        self.sink.prepare(DOCUMENTS, self.source.describe())
        self.source.connect()
        self.cursor, _ = self.source.begin()
        self.stored = self.cursor
        self.hand: StreamPage | None = None
        self.read_at: dict[tuple[str, Key], int] = {}
        self.seen_at: dict[int, int] = {}

    # -- writers ------------------------------------------------------------------------------

    def write(self, writer: int, table: str, keys: list[Key], delete: bool) -> None:
        """One statement; a locked key makes it nothing."""
        self.numbers += 1
        try:
            if delete:
                self.session(writer).delete(table, *keys)
            else:
                rows = {key: row_of(key, self.numbers) for key in keys}
                self.session(writer).write(table, rows)
        except LockConflictError:
            return

    def truncate(self, writer: int, table: str) -> None:
        """Empty a table, if nobody holds a lock on it."""
        try:
            self.session(writer).truncate(table)
        except LockConflictError:
            return

    def end(self, writer: int, how: str) -> None:
        """The end of a transaction; remember when each commit became visible."""
        super().end(writer, how)
        self.note_commits()

    def note_commits(self) -> None:
        """Keep the clock at which every commit was first visible, and forget those lost."""
        tops = {r.top for r in self.database.state.wal if isinstance(r, Commit)}
        clock = self.database.snapshot().clock
        self.seen_at = {top: self.seen_at.get(top, clock) for top in tops}

    # -- the syncer ---------------------------------------------------------------------------

    def read(self, documents: int) -> bool:
        """Read a page unless one is in hand; False if nothing is new, and then both are equal."""
        if self.hand is not None:
            return True
        try:
            self.hand = self.source.poll(self.cursor, 1, Limits(documents)).page
        except SourceUnavailable:
            self.source.connect()
            return True
        if self.hand is None:
            self.check_equal()
        return self.hand is not None

    def send(self, acknowledged: bool = True) -> None:
        """Ask the gate, apply the page in hand, and move the cursor if the answer arrives."""
        if self.hand is None:
            return
        hand, self.hand = self.hand, None
        try:
            assert hand.page.ready()
        except SourceUnavailable:
            return
        self.sink.submit(hand.page).result(0)
        if hand.truncated:
            self.sweep(hand.page.document)
        if not acknowledged:
            self.restart()
            return
        self.cursor = hand.next
        clock = clock_of(hand.page.version)
        for write in self._log_rows(hand.page.document):
            for key, _ in write.rows:
                if b'"_id":"%s"' % self._id(key) in hand.page.body:
                    place = (write.table, key)
                    self.read_at[place] = max(self.read_at.get(place, 0), clock)
        self.check_coverage()

    def sweep(self, document: str) -> None:
        """Look up everything that the index holds."""
        held = [name for chunk in self.sink.scan(document) for name, _ in chunk]
        page = self.source.lookup(document, held, 1)
        assert page.ready()
        self.sink.submit(page).result(0)

    def save(self) -> None:
        """Store the cursor, as text."""
        self.stored = Cursor.from_json(self.cursor.to_json())

    def restart(self) -> None:
        """Die and come back with what was stored, on a new connection."""
        self.hand, self.cursor = None, self.stored
        self.source.close()
        self.source.connect()

    def crash(self) -> None:
        """The server crashes; nothing that the sink holds may be lost with it."""
        self.database.crash()
        self.sessions.clear()
        self.note_commits()
        self.check_no_phantom()
        self.check_coverage()

    def drain(self, documents: int) -> None:
        """All writers end, and the syncer goes on until nothing is new."""
        for writer in list(self.sessions):
            self.end(writer, "commit")
        self.source.connect()
        for _ in range(10_000):
            if not self.read(documents):
                return
            self.send()
        raise AssertionError("the window never ends")

    # -- invariants ---------------------------------------------------------------------------

    def check_equal(self) -> None:
        """The sink holds exactly the rows of this moment."""
        now = self.database.snapshot()
        for document in DOCUMENTS:
            rows = self.database.rows(document.table, now)
            want = {self._id(key).decode(): row for key, row in rows.items()}
            assert self._held(document.name) == want

    def check_coverage(self) -> None:
        """Whatever a done transaction logged was read in a snapshot that sees it."""
        for document in DOCUMENTS:
            for write in self._log_rows(document.name):
                if self.cursor.done.finished(write.top) and write.top in self.seen_at:
                    for key, _ in write.rows:
                        assert self.read_at[(write.table, key)] >= self.seen_at[write.top]

    def check_no_phantom(self) -> None:
        """All that the sink holds was written by a commit that is still there."""
        for document in DOCUMENTS:
            written = {row for w in self._log_rows(document.name) for _, row in w.rows}
            assert set(self._held(document.name).values()) <= written

    def _held(self, document: str) -> Mapping[str, str]:
        held = self.sink.documents(document).items()
        return {name: source.decode().rstrip("\n") for name, source in held}

    def _log_rows(self, document: str) -> list[Write]:
        table = next(d.table for d in DOCUMENTS if d.name == document)
        wal = self.database.state.wal
        kept = {x for r in wal if isinstance(r, Commit) for x in r.xids}
        return [r for r in wal if isinstance(r, Write) and r.xid in kept and r.table == table]

    @staticmethod
    def _id(key: Key) -> bytes:
        return ",".join(key).encode()
