"""A load into a sink that discards, against COPY of the same rows as JSON."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

from benchmarks.report import Figure
from benchmarks.running import Place, drive, finish, place
from benchmarks.usage import seconds_of
from benchmarks.world import Database, World, copy
from txid_sync.share import Share
from txid_sync.sinks.discard import DiscardSink
from txid_sync.wiring import Choices, assemble

Reader = tuple[Place, Choices]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rows: int
    rounds: int


FORMS = {"full": Sizes(500_000, 7), "short": Sizes(150_000, 4), "tiny": Sizes(500, 1)}


def run(world: World, sizes: Sizes) -> list[Figure]:
    """One reader over the table; two workers that share its keys."""
    one: list[float] = []
    stream: list[float] = []
    two: list[float] = []
    with world.database("discard") as database, ExitStack() as stack:
        rows = sizes.rows
        database.lean("whole", rows)
        where = stack.enter_context(place(world, database, "whole", ["whole"], sink="discard"))
        workers = [(where, Choices(share=Share(number, 2))) for number in (1, 2)]
        changed = stack.enter_context(
            place(world, database, "changes", ["whole"], sink="discard", load=False)
        )
        copy(database, "whole")
        for _ in range(sizes.rounds):
            floor = seconds_of(lambda: copy(database, "whole"))
            one.append(floor / _load(where, rows))
            floor = seconds_of(lambda: copy(database, "whole"))
            stream.append(floor / _stream(database, changed, rows))
            floor = seconds_of(lambda: copy(database, "whole"))
            two.append(floor / _together(workers, rows))
    return [
        Figure("load, one reader, to COPY", one, "x", 0.6, 0.9),
        Figure("load, two workers, to COPY", two, "x", 1.1, 1.8),
        Figure("stream, one reader, to COPY", stream, "x"),
    ]


def _load(where: Place, rows: int) -> float:
    """Seconds of a load; every row must have come."""
    with assemble(where.config) as assembly:
        assembly.pipeline.start()
        seconds = seconds_of(lambda: finish(assembly.pipeline))
        assert isinstance(assembly.sink, DiscardSink)
        assert assembly.sink.documents == rows, f"{assembly.sink.documents} documents came"
    return seconds


def _stream(database: Database, where: Place, rows: int) -> float:
    """Seconds for all rows as changes of 1,000 rows each."""
    statement = "update whole set paid = not paid where id between %s and %s"

    def changed(work: object) -> float:
        database.batches(statement, rows, 1000)
        database.run("vacuum analyze whole")
        assert callable(work)
        return seconds_of(work)

    return float(drive(where, changed))


def _together(readers: Sequence[Reader], rows: int) -> float:
    """Seconds from the common start until the last of several processes has loaded its share."""
    context = multiprocessing.get_context("spawn")
    barrier, read = context.Barrier(len(readers) + 1), context.SimpleQueue()
    processes = [context.Process(target=_share, args=(r, barrier, read)) for r in readers]
    for process in processes:
        process.start()
    barrier.wait()
    begun = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - begun
    for process in processes:
        process.join()
        assert process.exitcode == 0
    documents = sum(read.get() for _ in readers)
    assert documents == rows, f"{documents} documents came"
    return seconds


def _share(reader: Reader, barrier: Barrier, read: SimpleQueue[int]) -> None:
    where, choices = reader
    with assemble(where.config, choices) as assembly:
        assembly.pipeline.start()
        barrier.wait()
        finish(assembly.pipeline)
        barrier.wait()
        assert isinstance(assembly.sink, DiscardSink)
        read.put(assembly.sink.documents)
