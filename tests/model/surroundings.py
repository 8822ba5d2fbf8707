"""Whatever acts beside the pipelines: writers, crashes, failover, pruning, faults of the sink."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from tests.model import history
from tests.model.history import Fact, Past
from tests.model.oracle import Oracle
from tests.model.parts import ModelSink
from txid_sync.errors import SinkUnavailable
from txid_sync.model import Document, Page, version_of
from txid_sync.progress.memory import SaveFault
from txid_sync.sinks.memory import Fault, MemoryIndex
from txid_sync.sources.memory_database import MemoryDatabase, Session
from txid_sync.sources.memory_wal import Commit, Write

A = Document("a", "a")
Action = tuple[str, int]
EFFECTS = {"submit", "save", "prepare"}


@dataclass(frozen=True, slots=True)
class Writer:
    """A transaction of one statement: put, delete or truncate; `whole` ones end at once."""

    what: str
    keys: tuple[str, ...] = ()
    whole: bool = False
    synchronous: bool = True
    may_abort: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """The bounds of one search; `budget` says how often each thing may happen."""

    writers: tuple[Writer, ...]
    budget: Mapping[str, int] = field(default_factory=dict)
    rows: tuple[str, ...] = ("1", "2")
    keys: tuple[str, ...] = ("1", "2")
    syncers: int = 1
    page: int = 1
    skim: int = 0
    in_flight: int = 1
    holds: bool = False
    fresh: bool = False  # the pipeline was never started
    ghosts: tuple[str, ...] = ()  # documents of an earlier life that were not removed
    faults: tuple[Fault, ...] = ()
    save_faults: tuple[SaveFault, ...] = ()
    inner: frozenset[str] = frozenset()
    slow: bool = False  # time passes only now and then: progress is not saved at every step
    marks: bool = False  # a pipeline that rests writes a marker
    prunes: bool = False  # the pipelines prune, whenever they have stored anything
    brake: float | None = None  # the share that the delete brake allows, if it is on
    repairs: bool = False  # a verifier mends what it finds
    tampers: tuple[str, ...] = ()  # what somebody else may do to a document


class Surroundings:
    """Database and sink, and what happens to them; `left` is how often each may still happen."""

    database: MemoryDatabase
    sink: ModelSink

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.oracle = Oracle()
        self.database = MemoryDatabase("a")
        self.left = dict(scene.budget)
        self.status = (0,) * len(scene.writers)
        self.facts: tuple[Fact, ...] = ()
        self.histories: dict[tuple[str, str], list[Past]] = {}
        self.wal: tuple[object, ...] = ()
        self.wiped_at = 0  # the source's clock at that moment

    def _earlier_life(self) -> None:
        """The table's first rows, and documents that somebody left in the index."""
        with self.database.transaction() as session:
            session.write("a", {(key,): history.row_of(key, "init") for key in self.scene.rows})
        self.look_back()
        if self.scene.ghosts:
            index = MemoryIndex("uuid-ghosts")
            for key in self.scene.ghosts:
                text = history.row_of(key, "ghost").encode() + b"\n"
                index.documents[key] = (version_of(1, 1), text)
            self.sink.indices[A.name] = index

    # -- what may happen ----------------------------------------------------------------------

    def _source_actions(self) -> Iterator[Action]:
        for i, writer in enumerate(self.scene.writers):
            if self.status[i] == 1:
                yield "commit", i
                if writer.may_abort:
                    yield "abort", i
            elif self.status[i] == 0 and not self._locked(writer):
                yield "begin", i
        for what in ("crash", "prune", "promote", "lossy promote", "nudge"):
            if self.left.get(what, 0):
                yield what, 0
        if self.left.get("restore", 0) and set(self.status) <= {2}:
            yield "restore", 0

    def _locked(self, writer: Writer) -> bool:
        """Whether a row is held by another writer, so that this one would wait."""
        held = [self.scene.writers[i] for i, status in enumerate(self.status) if status == 1]
        return any(
            not w.keys or not writer.keys or set(w.keys) & set(writer.keys) for w in held
        )

    def _sink_actions(self) -> Iterator[Action]:
        for ticket in sorted(self.sink.sent):
            yield "apply", ticket
        for place in range(len(self.sink.late)):
            yield "arrive", place
        for what in ("forget", "wipe", "replace"):
            if self.left.get(what, 0) and A.name in self.sink.indices:
                yield what, 0

    def look_back(self) -> None:
        """Note what has become visible since."""
        state = self.database.state
        if state.wal is self.wal:
            return
        self.wal = state.wal
        self.facts = history.facts_of(state, self.facts, self.database.snapshot().clock)
        self.histories = history.histories(state, self.facts, self.scene.keys)

    # -- the database -------------------------------------------------------------------------

    def _begin(self, i: int) -> None:
        writer = self.scene.writers[i]
        session = Session(self.database, 100 + i)
        self.database.change(backends=(*self.database.state.backends, session.pid))
        session.begin()
        label = "ABCDE"[i]
        if writer.what == "put":
            session.write("a", {(key,): history.row_of(key, label) for key in writer.keys})
        elif writer.what == "delete":
            session.delete("a", *((key,) for key in writer.keys))
        elif writer.what == "truncate":
            session.truncate("a")
        else:
            session.assign()
        self._set_status(i, 1)
        if writer.whole:
            self._commit(i)

    def _commit(self, i: int) -> None:
        session = Session(self.database, 100 + i)
        session.commit(self.scene.writers[i].synchronous)
        session.close()
        self._set_status(i, 2)
        self.look_back()

    def _abort(self, i: int) -> None:
        Session(self.database, 100 + i).close()
        self._set_status(i, 2)

    def _set_status(self, i: int, status: int) -> None:
        self.status = (*self.status[:i], status, *self.status[i + 1 :])

    def _crash(self, _: int, keep: int | None = None) -> None:
        self.database.crash(keep)
        self.status = tuple(2 if status == 1 else status for status in self.status)
        self.look_back()

    def _promote(self, _: int) -> None:
        self._crash(0)
        self._next_timeline()

    def _lossy_promote(self, _: int) -> None:
        """The new primary lacks the last commit; requests of the old days are over.

        One that came later than the sweep could bring a row that the new primary never had.
        """
        self.sink.late.clear()
        self._restore(0)
        self._next_timeline()

    def _restore(self, _: int) -> None:
        """An image of the disk is put back: the last transaction is gone, the identity stays.

        An image that holds its rows without its commit has the clock of before: no version tells.
        """
        wal = self.database.state.wal
        tops = [record.top for record in wal if isinstance(record, Commit)]
        lost = [at for at, r in enumerate(wal) if isinstance(r, Write) and r.top == tops[-1]]
        self._crash(0, lost[0] if len(tops) > 1 and lost else None)

    def _next_timeline(self) -> None:
        timeline = int(self.database.identity()["timeline"]) + 1
        self.database.change_identity(timeline=f"{timeline:08}")

    def _prune(self, _: int) -> None:
        self.database.prune("a", 10**6)

    def _nudge(self, _: int) -> None:
        """A transaction that changes nothing tracked."""
        with self.database.transaction() as session:
            session.assign()

    # -- the sink -----------------------------------------------------------------------------

    def _apply(self, ticket: int) -> None:
        self.sink.settle(ticket)

    def _arrive(self, place: int) -> None:
        """A page that its sender has given up."""
        if A.name in self.sink.indices:
            self.sink.arrive(place)
        else:
            self.sink.late.pop(place)

    def _wipe(self, _: int) -> None:
        self.sink.drop_index(A.name)
        self.wiped_at = self.database.snapshot().clock

    def _replace(self, _: int) -> None:
        """The index is deleted, and somebody makes another of the same name."""
        self.sink.indices[A.name] = MemoryIndex("uuid-other")
        self.wiped_at = self.database.snapshot().clock

    def _forget(self, _: int) -> None:
        """The sink's node restarts: its memory of deletes is gone, and so are requests it had.

        A request under way was applied before, or never, and its sender only hears that the
        connection is gone; or it had been refused, and is sent again afterwards.
        """
        for ticket, sent in list(self.sink.sent.items()):
            how = self.oracle.choose(["is refused for now", "was applied", "is lost"])
            if how == "is refused for now":
                self.sink.sent[ticket] = replace(sent, again=True)
                continue
            del self.sink.sent[ticket]
            if how == "was applied":
                self.sink.deliver(sent.page)
            self.sink.outcomes[ticket] = SinkUnavailable("the connection is gone")
        self.sink.late.clear()
        self.sink.forget_tombstones()

    def fault(self, page: Page, again: bool) -> Fault | None:
        """What goes wrong with a page; one that is sent again has an answer that says so."""
        if again:
            return Fault.RETRIED
        faults = self.scene.faults if self.left.get("fault", 0) else ()
        said = self.oracle.choose(["answered", *(f"answer {fault.name}" for fault in faults)])
        if said == "answered":
            return None
        self.left["fault"] -= 1
        return Fault[said.removeprefix("answer ")]

    def save_fault(self) -> SaveFault | None:
        """What goes wrong with a save."""
        faults = self.scene.save_faults if self.left.get("fault", 0) else ()
        said = self.oracle.choose(["saved", *(f"save {fault.name}" for fault in faults)])
        if said == "saved":
            return None
        self.left["fault"] -= 1
        return SaveFault[said.removeprefix("save ")]
