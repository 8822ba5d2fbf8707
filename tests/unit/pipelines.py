"""A world in memory for the tests of the pipeline, and how to run one to its rest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from txid_sync.errors import Unavailable
from txid_sync.failpoints import Failpoint, ignore
from txid_sync.model import Document, Limits
from txid_sync.pipeline import Pipeline, PipelineOptions
from txid_sync.progress.memory import MemoryProgress
from txid_sync.share import WHOLE, Share
from txid_sync.sinks.memory import MemorySink
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.memory_database import MemoryDatabase

A, B = Document("a", "a"), Document("b", "b")
OPTIONS = PipelineOptions(Limits(documents=2), skim_entries=0, save_interval_seconds=0.0)


class Died(Exception):
    """The process was killed at a failpoint."""


@dataclass
class World:
    """A database with two tables, a sink, a store, and pipelines that come and go."""

    database: MemoryDatabase = field(default_factory=lambda: MemoryDatabase("a", "b"))
    sink: MemorySink = field(default_factory=MemorySink)
    store: MemoryProgress = field(default_factory=MemoryProgress)
    options: PipelineOptions = OPTIONS
    now_seconds: float = 0.0

    def write(self, table: str, *keys: int, value: str = "x") -> None:
        """Write rows in one transaction."""
        with self.database.transaction() as session:
            session.write(table, {(str(k),): f'{{"k":{k},"v":"{value}"}}' for k in keys})

    def delete(self, table: str, *keys: int) -> None:
        """Delete rows in one transaction."""
        with self.database.transaction() as session:
            session.delete(table, *[(str(k),) for k in keys])

    def pipeline(
        self,
        failpoint: Failpoint = ignore,
        documents: Sequence[Document] = (A, B),
        share: Share = WHOLE,
    ) -> Pipeline:
        """A new pipeline on everything that is there, as a new process makes it."""
        source = MemorySource(self.database, documents, share=share)
        return Pipeline(
            "main", source, self.sink, self.store, documents, self.options, failpoint,
            lambda: self.now_seconds, share,
        )  # fmt: skip

    def table(self, name: str) -> dict[str, object]:
        """The rows of a table."""
        rows = self.database.rows(name, self.database.snapshot())
        return {key[0]: json.loads(text) for key, text in rows.items()}

    def index(self, name: str) -> dict[str, object]:
        """The documents of an index."""
        return {id: json.loads(text) for id, text in self.sink.documents(name).items()}

    def assert_equal(self) -> None:
        """Both sides hold the same."""
        for name in ("a", "b"):
            assert self.index(name) == self.table(name)


def drain(pipeline: Pipeline) -> None:
    """Step until nothing is left, recovering from outages."""
    for _ in range(2000):
        try:
            if not pipeline.step() and pipeline.status().phase == "sync":
                return
        except Unavailable:
            pipeline.recover()
    raise AssertionError("the pipeline does not come to rest")


def run(world: World) -> Pipeline:
    """Start a pipeline, drain it and stop it."""
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    pipeline.stop()
    return pipeline


def changing(world: World) -> Iterator[None]:
    """A history that meets every kind of page; yields between its parts."""
    world.write("a", *range(5))
    yield
    world.write("a", 1, 2, value="y")
    world.delete("a", 0)
    yield
    world.write("b", *range(3))
    with world.database.transaction() as session:
        session.truncate("a")
        session.write("a", {("9",): '{"k":9,"v":"z"}'})
    yield
    world.write("a", 0, 9, value="again")
    world.delete("b", 1)
    yield


def started(world: World) -> Pipeline:
    """A pipeline that has come to rest."""
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    return pipeline
