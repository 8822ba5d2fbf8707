"""Every schedule of a few transactions, pages and crashes, on the real cursor, source and database.

`Explorer` walks breadth first over all states that a `Profile` allows; each state is an immutable
value, so equal states are met once.  Every step is checked against the invariants below; the first
violation found is a shortest one.

Invariants
----------
* coverage: if the cursor counts t as done, then for each key that t logged a document was
  acknowledged with a version of at least the clock at which t became visible, and the sink does
  not hold content older than that of t;
* no phantom: after a crash the sink holds nothing that the source lost;
* never back: an accepted write does not replace newer content by older;
* equality: when a poll finds nothing new, the sink equals the rows of that moment;
* progress: the pages of one window come to an end (the walk itself ends).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.model.world import (
    Fact,
    Hand,
    Outcome,
    Place,
    Profile,
    Program,
    Statement,
    Step,
    ViolationError,
    World,
    actions_in,
    bind,
    label_of,
    path_to,
    row_of,
    with_status,
)
from txid_sync.errors import Discontinuity, SourceUnavailable
from txid_sync.model import Document, Limits, clock_of
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.memory_database import LockConflictError, MemoryDatabase, Session
from txid_sync.sources.memory_wal import Commit, Write


class Explorer:
    """Walks one profile with one source class."""

    def __init__(self, profile: Profile, source_class: type[MemorySource] = MemorySource) -> None:
        self.profile = profile
        self.database = MemoryDatabase(*profile.tables)
        documents = [Document(table, table) for table in profile.tables]
        self.source = source_class(self.database, documents, now=lambda: 0.0)
        self.limits = Limits(documents=profile.page)
        self._stores_early = hasattr(source_class, "stores_early")

    # -- the walk ---------------------------------------------------------------------------

    def run(self, at_most: int = 10**7) -> Outcome:
        """Every reachable state, or the shortest way to a violation."""
        first = self._first()
        parents: dict[World, tuple[World, str] | None] = {first: None}
        queue = deque([first])
        while queue and len(parents) < at_most:
            world = queue.popleft()
            for name, step in self._steps(world):
                try:
                    after = self._do(world, step)
                except ViolationError as violation:
                    schedule = (*path_to(parents, world), name)
                    return Outcome(len(parents), schedule, str(violation))
                if after is not None and after not in parents:
                    parents[after] = (world, name)
                    queue.append(after)
        if queue:
            raise AssertionError(f"more than {at_most} states: not exhaustive")
        return Outcome(len(parents))

    def _first(self) -> World:
        """Every key has a row, the sink holds it, the cursor begins after it."""
        with self.database.transaction() as session:
            for table in self.profile.tables:
                session.write(table, {(key,): row_of(key, "init") for key in self.profile.keys})
        self.database.flush()
        self.source.connect()
        cursor, clock = self.source.begin()
        places = [(t, k) for t in self.profile.tables for k in self.profile.keys]
        return World(
            self.database.state,
            self.source.connection,
            cursor,
            cursor,
            tuple(sorted((p, (clock, row_of(p[1], "init"))) for p in places)),
            tuple(sorted((p, clock) for p in places)),
            ("",) * len(self.profile.programs),
        )

    def _do(self, world: World, step: Step) -> World | None:
        self.database.state = world.database
        self.source.connection = world.connection
        try:
            after = step(world)
        except LockConflictError:
            return None
        if after is None:
            return None
        after = replace(after, database=self.database.state, connection=self.source.connection)
        self._check_coverage(after)
        return after

    # -- what may happen next -----------------------------------------------------------------

    def _steps(self, world: World) -> Iterator[tuple[str, Step]]:
        yield from self._transaction_steps(world)
        connection = world.connection
        alive = connection is not None and connection.pid in world.database.backends
        if not alive:
            yield "reconnect", self._reconnect
        if world.hand is None and alive:
            yield "read", self._read
        if world.hand is not None:
            yield "send", self._send
        if world.zombie is not None:
            yield "zombie arrives", self._arrive
        if self.profile.restarts and world.stored != world.cursor:
            yield "save", lambda w: replace(w, stored=w.cursor)
        if self.profile.restarts and world.hand is not None and self._stores_early:
            yield "save early", lambda w: replace(w, stored=w.hand.next)  # type: ignore[union-attr]
        if world.restarts < self.profile.restarts:
            yield from self._deaths(world)
        yield from self._crashes(world)

    def _deaths(self, world: World) -> Iterator[tuple[str, Step]]:
        """The syncer dies, with or without a page in hand."""
        yield "restart", self._restart
        if world.hand is not None:
            yield "send, die before the answer", self._send_and_die
            if self.profile.zombies and world.zombie is None:
                yield "die while sending", self._hang

    def _crashes(self, world: World) -> Iterator[tuple[str, Step]]:
        """The server flushes or dies."""
        if world.database.flushed < len(world.database.wal) and self.profile.crashes:
            yield "flush", self._flush
        if world.crashes < self.profile.crashes:
            yield "crash", self._crash
            if self.profile.image and self._image_position(world) is not None:
                yield "image put back", self._image

    def _transaction_steps(
        self, world: World
    ) -> Iterator[tuple[str, Step]]:
        for i, program in enumerate(self.profile.programs):
            status = world.transactions[i]
            if status == "end":
                continue
            if status == "" and self.profile.alike and i and world.transactions[i - 1] == "":
                continue
            if status == "prepared":
                yield f"commit prepared {label_of(i)}", bind(self._finish, i, "commit prepared")
                yield f"rollback prepared {label_of(i)}", bind(self._finish, i, "rollback prepared")
                continue
            yield from self._open_steps(i, program, status)

    def _open_steps(
        self, i: int, program: Program, status: str
    ) -> Iterator[tuple[str, Step]]:
        name = label_of(i)
        if status.count("w") < program.writes:
            for statement in program.statements:
                keys = ",".join(statement[1])
                yield f"{name} writes {statement[0]}/{keys}", bind(self._write, i, statement)
        if status == "" and program.assign:
            yield f"{name} takes a txid", bind(self._assign, i)
        if status and program.savepoint and "s" not in status:
            yield f"{name} savepoint", bind(self._savepoint, i, "s")
        if "s" in status and "x" not in status:
            yield f"{name} rolls back to savepoint", bind(self._savepoint, i, "x")
        if status:
            yield from self._ends(i, program, status)

    def _ends(self, i: int, program: Program, status: str) -> Iterator[tuple[str, Step]]:
        name = label_of(i)
        if program.synchronous is not False:
            yield f"{name} commits", bind(self._finish, i, "commit")
        if program.synchronous is not True:
            yield f"{name} commits (async)", bind(self._finish, i, "commit async")
        if program.may_abort:
            yield f"{name} aborts", bind(self._finish, i, "abort")
        if program.two_phase and "w" in status:
            yield f"{name} prepares", bind(self._finish, i, "prepare")

    # -- transactions -------------------------------------------------------------------------

    def _session(self, i: int, status: str) -> Session:
        session = Session(self.database, 100 + i)
        if not self.database.alive(session.pid):
            self.database.change(backends=(*self.database.state.backends, session.pid))
        if status == "":
            session.begin()
        return session

    def _write(self, world: World, i: int, statement: Statement) -> World:
        status = world.transactions[i]
        session = self._session(i, status)
        table, keys = statement
        if self.profile.programs[i].deletes:
            session.delete(table, *((key,) for key in keys))
        else:
            session.write(table, {(key,): row_of(key, label_of(i)) for key in keys})
        return with_status(world, i, status + "w")

    def _assign(self, world: World, i: int) -> World:
        self._session(i, "").assign()
        return with_status(world, i, "t")

    def _savepoint(self, world: World, i: int, what: str) -> World:
        session = self._session(i, world.transactions[i])
        if what == "s":
            session.savepoint("s")
        else:
            session.rollback_to("s")
        return with_status(world, i, world.transactions[i] + what)

    def _finish(self, world: World, i: int, how: str) -> World:
        label = label_of(i)
        running = self.database.state.running
        mine = next(t for t in running if t.owner in (100 + i, label))
        if how.endswith("prepared"):
            if how == "commit prepared":
                self.database.commit_prepared(label)
            else:
                self.database.rollback_prepared(label)
        elif how == "prepare":
            self._session(i, "open").prepare(label)
            return with_status(world, i, "prepared")
        elif how == "abort":
            self._session(i, "open").abort()
        else:
            self._session(i, "open").commit(synchronous=how == "commit")
        backends = tuple(p for p in self.database.state.backends if p != 100 + i)
        self.database.change(backends=backends)
        world = with_status(world, i, "end")
        if not how.startswith("commit"):
            return world
        places = self._logged(mine.top, mine.xids)
        fact = Fact(label, mine.top, places, self.database.snapshot().clock)
        return replace(world, facts=tuple(sorted((*world.facts, fact), key=lambda f: f.label)))

    def _logged(self, top: int, xids: Sequence[int]) -> tuple[Place, ...]:
        writes = [r for r in self.database.state.wal if isinstance(r, Write) and r.xid in xids]
        return tuple(sorted({(w.table, k[0]) for w in writes if w.top == top for k, _ in w.rows}))

    # -- the syncer ---------------------------------------------------------------------------

    def _reconnect(self, world: World) -> World:
        self.source.connect()
        return world

    def _read(self, world: World) -> World | None:
        try:
            stream = self.source.poll(world.cursor, 1, self.limits).page
        except Discontinuity as error:
            if self.profile.image:
                return None  # answered by a resync: safe, if it is noticed
            raise ViolationError(f"refused: {error}") from None
        if stream is None:
            self._check_equal(world)
            return world
        look = stream.page.ready.args[0]  # type: ignore[attr-defined]
        late = getattr(self.source, "late_arguments", None)
        page, at = stream.page, (look.pid, look.inserted)
        hand = Hand(page.document, page.body, stream.next, *at, stream, late)
        return replace(world, hand=hand)

    def _send(self, world: World) -> World | None:
        hand = world.hand
        assert hand is not None
        try:
            if not hand.stream.page.ready():
                return None
        except SourceUnavailable:
            return replace(world, hand=None)
        world = self._apply(world, hand.document, hand.body)
        acked = dict(world.acked)
        for place, version, _ in actions_in(hand.document, hand.body):
            acked[place] = max(acked[place], version)
        cursor = hand.next
        if hand.late is not None:
            cursor = self.source.settle(world.cursor, *hand.late)  # type: ignore[attr-defined]
        return replace(world, hand=None, cursor=cursor, acked=tuple(sorted(acked.items())))

    def _send_and_die(self, world: World) -> World | None:
        sent = self._send(world)
        if sent is None or sent.cursor == world.cursor:
            return None
        return self._restart(replace(sent, cursor=world.cursor, acked=world.acked))

    def _hang(self, world: World) -> World | None:
        hand = world.hand
        assert hand is not None
        try:
            if not hand.stream.page.ready():
                return None
        except SourceUnavailable:
            return None
        return self._restart(replace(world, zombie=(hand.document, hand.body)))

    def _arrive(self, world: World) -> World:
        assert world.zombie is not None
        return replace(self._apply(world, *world.zombie), zombie=None)

    def _restart(self, world: World) -> World:
        """The process dies; what it had not saved is gone."""
        self.source.close()
        self.source.connect()
        cursor = getattr(self.source, "resumed", lambda c: c)(world.stored)
        return replace(world, cursor=cursor, hand=None, restarts=world.restarts + 1)

    def _apply(self, world: World, document: str, body: bytes) -> World:
        sink = dict(world.sink)
        for place, version, row in actions_in(document, body):
            held, old = sink[place]
            if version < held:
                continue
            known = row is not None and old is not None
            if known and self._age(place, row) < self._age(place, old):
                raise ViolationError(f"back: {place} from {old} to {row}")
            sink[place] = (version, row)
        return replace(world, sink=tuple(sorted(sink.items())))

    # -- crashes ------------------------------------------------------------------------------

    def _flush(self, world: World) -> World:
        self.database.flush()
        return world

    def _crash(self, world: World, keep: int | None = None) -> World:
        self.database.crash(keep)
        kept = {r.top for r in self.database.state.wal if isinstance(r, Commit)}
        facts = tuple(f for f in world.facts if f.txid in kept)
        transactions = tuple("end" if s not in ("", "prepared") else s for s in world.transactions)
        for place, (_, row) in world.sink:
            if row is not None and self._age(place, row) < 0:
                raise ViolationError(f"phantom: {place} holds {row}")
        return replace(
            world, facts=facts, transactions=transactions, crashes=world.crashes + 1
        )

    def _image_position(self, world: World) -> int | None:
        """How much WAL an image may lack: the last record, the end of what changed nothing."""
        wal = world.database.wal
        last = wal[-1] if len(wal) == world.database.flushed else None
        if last is None or isinstance(last, Commit) or not hasattr(last, "xids"):
            return None
        lost = set(last.xids)
        if any(isinstance(r, Write) and (r.xid in lost or r.top in lost) for r in wal):
            return None
        return len(wal) - 1

    def _image(self, world: World) -> World:
        return self._crash(world, self._image_position(world))

    # -- invariants ---------------------------------------------------------------------------

    def _age(self, place: Place, row: str | None) -> int:
        """Place of a row's content in the order of committed writes; -1: it never was."""
        table, key = place
        wal = self.database.state.wal
        kept = {x for r in wal if isinstance(r, Commit) for x in r.xids}
        for age in range(len(wal) - 1, -1, -1):
            record = wal[age]
            wrote = isinstance(record, Write) and record.table == table and record.xid in kept
            if wrote and ((key,), row) in record.rows:
                return age
        return -1

    def _check_coverage(self, world: World) -> None:
        acked, sink = dict(world.acked), dict(world.sink)
        for fact in world.facts:
            if not world.cursor.done.finished(fact.txid):
                continue
            for place in fact.places:
                if clock_of(acked[place]) < fact.clock:
                    raise ViolationError(f"lost: {fact.label} is done, {place} not read after it")
                row, newer = sink[place][1], row_of(place[1], fact.label)
                if row is not None and 0 <= self._age(place, row) < self._age(place, newer):
                    raise ViolationError(f"stale: {fact.label} is done, {place} holds {row}")

    def _check_equal(self, world: World) -> None:
        now = self.database.snapshot()
        for table in self.profile.tables:
            rows = self.database.rows(table, now)
            held = {(p[1],): row for p, (_, row) in world.sink if p[0] == table and row is not None}
            if rows != held:
                raise ViolationError(f"not equal when idle: {table} has {rows}, sink {held}")
