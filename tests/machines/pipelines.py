"""Database, sink, store and pipelines of the pipeline's state machine, and what must hold."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace

from tests.failpoints.world import check_sound
from tests.machines.verifying import Verifying
from tests.writers import Writers
from txid_sync import ids
from txid_sync.errors import Discontinuity, PreconditionError, TakenOver, Unavailable
from txid_sync.model import Document, Limits, Page, clock_of, epoch_of
from txid_sync.pipeline import Pipeline, PipelineOptions
from txid_sync.progress.memory import MemoryProgress, SaveFault
from txid_sync.share import Share
from txid_sync.shares import stored_shares
from txid_sync.sinks.bulk import actions_of
from txid_sync.sinks.memory import Fault, MemorySink
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.memory_database import LockConflictError, MemoryDatabase
from txid_sync.verifier import Verifier

INSTANCES = 2
MAX_STEPS = 5000


class PipelineSystem(Writers):
    """Instances of one pipeline, workers or by mistake, over one database, one sink and one store.

    `workers` is the number that those who start now are told.
    """

    def __init__(
        self,
        pipeline_class: Callable[..., Pipeline] = Pipeline,
        verifier_class: type[Verifier] = Verifier,
    ) -> None:
        super().__init__(MemoryDatabase("a", "b"))
        self.sink = MemorySink(self._fault)
        self.store = MemoryProgress(self._save_fault)
        self.documents = (Document("a", "a"), Document("b", "b"))
        self.now_seconds = 0.0
        self.workers = 1
        self.truncated: set[str] = set()
        self.faults: list[Fault] = []
        self.save_faults: list[SaveFault] = []
        self._class, self._verifier_class = pipeline_class, verifier_class
        self._pipelines: dict[int, tuple[Pipeline, MemorySource]] = {}
        self.verifying = Verifying(self, self._verifier_class)

    # -- writers ------------------------------------------------------------------------------

    def write(self, writer: int, table: str, keys: list[str], what: str) -> None:
        """A statement: write, delete or truncate; one that would wait does nothing."""
        self.numbers += 1
        session = self.session(writer)
        with contextlib.suppress(LockConflictError):
            if what == "delete":
                session.delete(table, *[(key,) for key in keys])
            elif what == "truncate":
                session.truncate(table)
                self.truncated.add(table)
            else:
                rows = {(k,): json.dumps({"k": k, "v": self.numbers}) for k in keys}
                session.write(table, rows)

    # -- instances ----------------------------------------------------------------------------

    def pipeline(self, instance: int) -> Pipeline:
        """A running instance; started now if it is not."""
        if instance not in self._pipelines:
            share = Share(instance % self.workers + 1, self.workers)
            source = MemorySource(self.database, self.documents, share=share)
            options = PipelineOptions(
                Limits(documents=2), skim_entries=48, save_interval_seconds=0.0, brake_off=True
            )
            pipeline = self._class(
                "main", source, self.sink, self.store, self.documents, options,
                seconds=lambda: self.now_seconds, share=share,
            )  # fmt: skip
            self._pipelines[instance] = pipeline, source
        return self._pipelines[instance][0]

    def step(self, instance: int) -> bool:
        """One step; False at rest.  An instance that was taken over ends."""
        pipeline = self.pipeline(instance)
        try:
            if not pipeline.started:
                pipeline.start()
            return pipeline.step() or pipeline.status().phase != "sync"
        except Unavailable:
            with contextlib.suppress(Unavailable):
                pipeline.recover()
        except TakenOver:
            self.kill(instance)
        except PreconditionError as error:
            if "resync does not help" not in error.message:
                raise
            self.kill(instance)
        return True

    def resync(self, instance: int, names: list[str]) -> None:
        """As `txid-sync resync` does."""
        if not self.pipeline(instance).started:
            return
        try:
            self.pipeline(instance).resync("asked for", names)
        except (Unavailable, TakenOver):
            self.kill(instance)

    def kill(self, instance: int) -> None:
        """kill -9; the server ends its connection."""
        if instance in self._pipelines:
            self._pipelines.pop(instance)[1].close()

    def configure(self, *documents: Document) -> None:
        """Another configuration: all instances are killed and start with it."""
        for instance in list(self._pipelines):
            self.kill(instance)
        self.documents = documents
        self.verifying = Verifying(self, self._verifier_class)

    def forget_tombstones(self) -> None:
        """A node restarts; not while a request is late, which is the limit of any tombstone."""
        if not self.sink.late:
            self.sink.forget_tombstones()

    def drop_index(self, name: str) -> None:
        """With all its tombstones, so not while a request is late."""
        if name in self.sink.indices and not self.sink.late:
            self.sink.drop_index(name)

    def arrive(self) -> None:
        """The newest late request arrives; for an index that is gone it does nothing."""
        if self.sink.late:
            page = self.sink.late.pop()
            if self._is_beyond(page):
                page = self._known(page)
            self.sink.late.append(page)
            with contextlib.suppress(Discontinuity):
                self.sink.arrive(len(self.sink.late) - 1)

    def _is_beyond(self, page: Page) -> bool:
        """Whether rows may have gone since without a delete of their own: docs/guarantees.md."""
        epochs = [progress.epoch for progress in stored_shares(self.store, "main").values()]
        tables = {document.name: document.table for document in self.documents}
        return epoch_of(page.version) < max(epochs) or tables.get(page.document) in self.truncated

    def _known(self, page: Page) -> Page:
        """The actions on what the index has, or remembers that it has deleted."""
        index = self.sink.indices.get(page.document)
        known = {**index.documents, **index.tombstones} if index else {}
        data = [action.data for action in actions_of(page.body) if action.id in known]
        return replace(page, body=b"".join(data), documents=len(data))

    def lossy_promotion(self, records: int) -> None:
        """A copy that lacks the last records takes over; requests of the old life are over."""
        self.sink.late.clear()
        self.database.crash(keep=max(0, self.database.inserted - records))
        timeline = int(self.database.identity()["timeline"], 16) + 1
        self.database.change_identity(timeline=f"{timeline:08X}")
        self.sessions.clear()

    def drain(self) -> None:
        """Faults and writers end; one new instance of each share runs to its rest."""
        for writer in list(self.sessions):
            self.end(writer, "commit")
        self.faults.clear()
        self.save_faults.clear()
        self.configure(*self.documents)
        self.now_seconds += 100
        for _ in range(MAX_STEPS):
            if not any(self.step(instance) for instance in range(self.workers)):
                return
        raise AssertionError("the pipeline does not come to rest")

    # -- what must hold -----------------------------------------------------------------------

    def table(self, name: str) -> dict[str, object]:
        """The rows of a table as its documents."""
        (document,) = (d for d in self.documents if d.table == name)
        rows = self.database.rows(name, self.database.snapshot())
        values = {ids.encode(key): json.loads(text) for key, text in rows.items()}
        if not document.columns:
            return values
        return {id: {c: value[c] for c in document.columns} for id, value in values.items()}

    def check_equal(self) -> None:
        """Both sides hold the same."""
        for document in self.documents:
            held = self.sink.documents(document.name).items()
            assert {id: json.loads(text) for id, text in held} == self.table(document.table)

    def check_progress(self) -> None:
        """Stored progress counts nothing that the sink has not."""
        check_sound(self.database, self.sink, self.store, self.documents, self.table)

    def _fault(self, page: Page) -> Fault | None:
        self._check_page(page)
        return self.faults.pop(0) if self.faults else None

    def _check_page(self, page: Page) -> None:
        """Whatever is sent is true at the clock of its version, under a stored epoch."""
        epochs = [progress.epoch for progress in stored_shares(self.store, "main").values()]
        assert epoch_of(page.version) <= max(epochs)
        assert clock_of(page.version) == self.database.snapshot().clock
        rows = self.table(page.document)
        for action in actions_of(page.body):
            _, _, source = action.data.partition(b"\n")
            held = json.loads(source) if action.operation == "index" else None
            assert held == rows.get(action.id), action

    def _save_fault(self, _: str) -> SaveFault | None:
        return self.save_faults.pop(0) if self.save_faults else None

    def define(self, name: str, columns: tuple[str, ...]) -> None:
        """Another definition of one document."""
        self.configure(
            *(replace(d, columns=columns) if d.name == name else d for d in self.documents)
        )
