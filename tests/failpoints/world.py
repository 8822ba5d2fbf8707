"""A world in memory in which processes die, and what must hold after each death and at the end."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from tests.failpoints.effects import Death, Effects, counted
from tests.skimmed import SkimmedSource
from txid_sync import continuity, ids
from txid_sync.errors import Discontinuity, Unavailable
from txid_sync.failpoints import Failpoint
from txid_sync.model import Ack, Document, Limits, Page, clock_of, epoch_of
from txid_sync.pipeline import Pipeline, PipelineOptions
from txid_sync.progress.base import Progress, ProgressStore
from txid_sync.progress.memory import MemoryProgress
from txid_sync.share import Share
from txid_sync.shares import stored_shares
from txid_sync.sinks.base import Sink
from txid_sync.sinks.bulk import actions_of
from txid_sync.sinks.memory import MemorySink
from txid_sync.sources.base import Source
from txid_sync.sources.memory_database import MemoryDatabase
from txid_sync.sources.memory_wal import Commit, Write

A, B = Document("a", "a"), Document("b", "b")
REFUSED = "refused"
REST, RESTART = 0, -1
MAX_STEPS = 3000

Step = int  # what a history yields: how many steps the pipeline gets, REST or RESTART
PipelineClass = Callable[..., Pipeline]


class WatchedSink(MemorySink):
    """Looks at every page sent; if `slow`, none is applied before an answer is waited for.

    Then the newest page under way is applied, and after it the one that is waited for.
    """

    def __init__(self, slow: bool, sent: Callable[[Page], None]) -> None:
        super().__init__(hold=slow, refuse=lambda _, id, __: "no" if id == REFUSED else "")
        self._sent = sent

    def submit(self, page: Page) -> Future[Ack]:
        """Look at the page, and send it on."""
        self._sent(page)
        answer = super().submit(page)
        if self.held:
            answer = _Waited(self)
            self.held[-1] = (page, answer)
        return answer

    def settle(self, answer: Future[Ack]) -> None:
        """Apply the newest page under way, then the one with this answer."""
        self.release(len(self.held) - 1)
        places = [place for place, (_, other) in enumerate(self.held) if other is answer]
        if places:
            self.release(places[0])


class _Waited(Future[Ack]):
    """The answer to a page under way; waiting for it lets pages arrive."""

    def __init__(self, sink: WatchedSink) -> None:
        super().__init__()
        self._sink = sink

    def result(self, timeout: float | None = None) -> Ack:
        if not self.done():
            self._sink.settle(self)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if not self.done():
            self._sink.settle(self)
        return super().exception(timeout)


class World:
    """Database, sink and store that outlive every process; a history moves them on."""

    def __init__(
        self,
        history: Callable[[World], Iterator[Step]],
        slow: bool = False,
        pipeline_class: PipelineClass = Pipeline,
    ) -> None:
        self.database = MemoryDatabase("a", "b")
        self.sink = WatchedSink(slow, self.check_page)
        self.store = MemoryProgress()
        self.documents: Sequence[Document] = (A, B)
        self.options = PipelineOptions(
            Limits(documents=2), 4, 48, save_interval_seconds=0.0, brake_share=1.0,
            prune_interval_seconds=5.0,
        )  # fmt: skip
        self.now_seconds = 0.0
        self.lost: set[str] = set()
        self.late_arrivals = 0
        self._pipeline_class = pipeline_class
        self._source = SkimmedSource(self.database, self.documents)
        self._truth: dict[int, dict[str, dict[str, object]]] = {}
        self._history: Iterator[Step] | None = history(self)
        self._wish: Step = 1
        self.move_on()

    # -- the history --------------------------------------------------------------------------

    def write(self, table: str, *keys: object, value: str = "x") -> None:
        """Write rows in one transaction."""
        with self.database.transaction() as session:
            session.write(table, {(str(k),): row(k, value) for k in keys})

    def delete(self, table: str, *keys: object) -> None:
        """Delete rows in one transaction."""
        with self.database.transaction() as session:
            session.delete(table, *[(str(k),) for k in keys])

    def move_on(self) -> None:
        """The next part of the history, if there is one."""
        if self._history is not None:
            self._wish = next(self._history, REST)
            if self._wish == REST and self._history_is_over():
                self._history = None
        self._remember()

    def _remember(self) -> None:
        """The rows of this moment."""
        self._truth[self.database.snapshot().clock] = {t: self.table(t) for t in ("a", "b")}

    def _history_is_over(self) -> bool:
        frame = getattr(self._history, "gi_frame", None)
        return frame is None

    # -- processes ----------------------------------------------------------------------------

    def live(self, effects: Effects) -> None:
        """The life of one process, to the end of the history; raises Death."""
        pipeline = self._start(effects)
        steps = 0
        for _ in range(MAX_STEPS):
            if self._wish == RESTART:
                pipeline.stop()
                self.move_on()
                pipeline, steps = self._start(effects), 0
            try:
                busy = pipeline.step() or pipeline.status().phase != "sync"
            except Unavailable:
                pipeline.recover()
                continue
            steps += 1
            if self._wish == REST and not busy and self._history is None:
                pipeline.stop()
                return
            if (self._wish == REST and not busy) or 0 < self._wish <= steps:
                self.move_on()
                steps = 0
        raise AssertionError("the pipeline does not come to rest")

    def _start(self, effects: Effects) -> Pipeline:
        """A new pipeline on everything that is there, as a new process makes it."""
        self._source.close()
        self._source = SkimmedSource(self.database, self.documents)
        failpoint: Failpoint = effects.failpoint
        pipeline = self._pipeline_class(
            "main",
            counted(Source, self._source, effects),  # type: ignore[type-abstract]
            counted(Sink, self.sink, effects),  # type: ignore[type-abstract]
            counted(ProgressStore, self.store, effects),  # type: ignore[type-abstract]
            self.documents,
            self.options,
            failpoint,
            lambda: self.now_seconds,
        )
        pipeline.start()
        return pipeline

    def bury(self, zombies: bool) -> None:
        """The server ends a dead process's connection; its requests are lost, or come late."""
        self._source.close()
        if zombies:
            self.sink.late += [page for page, _ in self.sink.held]
        self.sink.held.clear()

    def arrive(self) -> None:
        """Late requests arrive, the newest first; for an index that is gone they do nothing."""
        while self.sink.late:
            self.late_arrivals += 1
            with contextlib.suppress(Discontinuity):
                self.sink.arrive(len(self.sink.late) - 1)

    # -- what must hold -----------------------------------------------------------------------

    def table(self, name: str) -> dict[str, object]:
        """The rows of a table that a sink may hold, by document id."""
        rows = self.database.rows(name, self.database.snapshot())
        good = {ids.encode(key): json.loads(text) for key, text in rows.items()}
        return {id: value for id, value in good.items() if id != REFUSED and len(id) <= 512}

    def index(self, name: str) -> dict[str, object]:
        """The documents of an index."""
        return {id: json.loads(text) for id, text in self.sink.documents(name).items()}

    def check_page(self, page: Page) -> None:
        """Whatever is sent is what the table held at the clock of its version; epochs are kept."""
        stored = self.store.load("main")
        assert stored is not None
        assert epoch_of(page.version) <= stored[0].epoch
        if clock_of(page.version) == self.database.snapshot().clock:
            self._remember()  # pruning moves the clock too
        rows = self._truth[clock_of(page.version)][page.document]
        for action in actions_of(page.body):
            if action.id != REFUSED:
                head, _, source = action.data.partition(b"\n")
                assert json.loads(head)[action.operation]["version"] == page.version
                held = json.loads(source) if action.operation == "index" else None
                assert held == rows.get(action.id), (page, action)

    def check_equal(self) -> None:
        """Both sides hold the same, and what the sink refused is listed."""
        for document in self.documents:
            assert self.index(document.name) == self.table(document.table)
        rows = {
            ids.encode(key)
            for document in self.documents
            for key in self.database.rows(document.table, self.database.snapshot())
        }
        bad = {id for id in rows if id == REFUSED or len(id) > 512}
        assert bad <= {letter.id for letter in self.sink.dead_letters()[1]}

    def check_lost(self) -> None:
        """A late request may bring back what the source itself has lost; a resync removes it.

        No version orders it, and nobody is left who knows its key.
        """
        for document in self.documents:
            if ghosts := self.index(document.name).keys() - self.table(document.table).keys():
                assert ghosts <= self.lost
                pipeline = self._start(Effects())
                pipeline.resync("asked for", [document.name])
                while pipeline.step() or pipeline.status().phase != "sync":
                    pass
                pipeline.stop()

    def check_sound(self) -> None:
        """See `check_sound` below."""
        check_sound(self.database, self.sink, self.store, self.documents, self.table)


def check_sound(
    database: MemoryDatabase,
    sink: MemorySink,
    store: ProgressStore,
    documents: Sequence[Document],
    rows_of: Callable[[str], Mapping[str, object]],
) -> None:
    """What stored progress counts as done is in the sink: the newest write of every key.

    Not asked of a document that has a load or a sweep before it, nor while source, index or
    definition are not those of the progress.
    """
    for share, progress in stored_shares(store, "main").items():
        if dict(progress.identity) == dict(database.identity()):
            _check_share(share, progress, database, sink, documents, rows_of)


def _check_share(
    share: Share,
    progress: Progress,
    database: MemoryDatabase,
    sink: MemorySink,
    documents: Sequence[Document],
    rows_of: Callable[[str], Mapping[str, object]],
) -> None:
    for document in documents:
        entry = progress.documents.get(document.name)
        if entry is None or entry.load or entry.sweep_below:
            continue
        fits = entry.definition == continuity.definition(document)
        if not fits or entry.index_uuid != sink.uuids().get(document.name):
            continue
        commits = _commits(database, document.table)
        recent = [write for write in commits if not progress.cursor.done.finished(write.top)]
        if any(not write.rows for write in recent):
            continue
        unknown = {ids.encode(key) for write in recent for key, _ in write.rows}
        held = {id: json.loads(text) for id, text in sink.documents(document.name).items()}
        rows = rows_of(document.table)
        for id in filter(share.holds, (held.keys() | rows.keys()) - unknown):
            assert held.get(id) == rows.get(id), (document.name, id, progress)


def _commits(database: MemoryDatabase, table: str) -> list[Write]:
    wal = database.state.wal
    kept = {x for r in wal if isinstance(r, Commit) for x in r.xids}
    return [r for r in wal if isinstance(r, Write) and r.xid in kept and r.table == table]


def row(key: object, value: str) -> str:
    """A row as JSON."""
    return json.dumps({"k": str(key), "v": value})


def run(
    history: Callable[[World], Iterator[Step]],
    *deaths: Effects,
    slow: bool = False,
    moves: bool = False,
    zombies: str = "",
    pipeline_class: PipelineClass = Pipeline,
) -> tuple[World, list[Effects]]:
    """One process dies after the other, a last one lives on; checks what must hold.

    `moves`: the history goes on while nobody runs.  `zombies`: requests of the dead arrive "next"
    (when the next process is running), at the "end", or never.  Gives the processes' effects.
    """
    world = World(history, slow, pipeline_class)
    lives = [*(replace(death, names=[], dead=False) for death in deaths), Effects()]
    for number, effects in enumerate(lives):
        if zombies:
            effects.dying = _sent_late(world)
        try:
            world.live(effects)
        except Death:
            world.bury(bool(zombies))
            world.check_sound()
            stored = world.store.load("main")
            effects.saved_pages = stored[0].acknowledged.pages if stored else 0
            if moves:
                world.move_on()
            if zombies == "next":
                world.arrive()
            continue
        lives = lives[: number + 1]
        break
    world.arrive()
    if zombies == "end":
        world.check_lost()
    world.check_equal()
    world.check_sound()
    return world, lives


def _sent_late(world: World) -> Callable[[str, tuple[Any, ...]], None]:
    def dying(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "Sink.submit":
            world.sink.late.append(arguments[0])

    return dying
