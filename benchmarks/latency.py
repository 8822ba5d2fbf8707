"""From the commit until the document can be read by its id, beside other writers."""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

from benchmarks.clients import SINGLE, Load, writing
from benchmarks.documents import Documents
from benchmarks.report import Figure
from benchmarks.running import Place, check_equal, drive, place, running, touch, until
from benchmarks.world import Database, World

CLIENTS = 4
PAUSE_SECONDS = 0.0005
LEAD_SECONDS = 1.5
READ_ROW = "select row_to_json(t)::text from lean t where id = %s"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rows: int
    samples: int
    rounds: int
    warming: int
    rates: tuple[int, ...]


FORMS = {
    "full": Sizes(50_000, 500, 5, 400, (200, 2000)),
    "short": Sizes(20_000, 60, 3, 200, (200, 2000)),
    "tiny": Sizes(200, 3, 1, 3, (50,)),
}


def run(world: World, sizes: Sizes) -> list[Figure]:
    """The bare loop and the pipeline in turns, beside the same writers."""
    figures = []
    with world.database("latency") as database:
        database.lean("lean", sizes.rows)
        with place(world, database, "latency", ["lean"]) as where:
            drive(where)
            _at(world, database, where, _warming(sizes), max(sizes.rates))
            for rate in sizes.rates:
                figures += _at(world, database, where, sizes, rate)
            drive(where)
            check_equal(where)
    return figures


def _warming(sizes: Sizes) -> Sizes:
    """One round that does not count: until its Java machine has compiled what small requests need,
    Elasticsearch takes a core for that alone, and twice as long for each."""
    return replace(sizes, samples=sizes.warming, rounds=1)


def _at(
    world: World, database: Database, where: Place, sizes: Sizes, rate: int
) -> list[Figure]:
    bare: list[list[float]] = []
    ours: list[list[float]] = []
    with closing(Documents(world.url, "bare")) as documents:
        for _ in range(sizes.rounds):
            documents.put(1, "{}")
            bare.append(_samples(database, documents, sizes, rate, documents.put))
            ours.append(_through(world, database, where, sizes, rate))
    pairs = list(zip(ours, bare, strict=True))
    return [
        Figure(f"{rate}/s, p50 beyond the bare loop", [_at_share(o, 50) - _at_share(b, 50)
               for o, b in pairs], "ms", 15, 5, at_most=True),
        Figure(f"{rate}/s, p99 beyond the bare loop", [_at_share(o, 99) - _at_share(b, 99)
               for o, b in pairs], "ms", 80, at_most=True),
        Figure(f"{rate}/s, p50", [_at_share(o, 50) for o in ours], "ms"),
        Figure(f"{rate}/s, p99", [_at_share(o, 99) for o in ours], "ms"),
        Figure(f"{rate}/s, p50 of the bare loop", [_at_share(b, 50) for b in bare], "ms"),
        Figure(f"{rate}/s, p99 of the bare loop", [_at_share(b, 99) for b in bare], "ms"),
    ]  # fmt: skip


def _at_share(samples: list[float], percent: int) -> float:
    return statistics.quantiles(samples, n=100, method="inclusive")[percent - 1]


def _through(
    world: World, database: Database, where: Place, sizes: Sizes, rate: int
) -> list[float]:
    caught_up = touch(world, database, where)
    with running(where), closing(Documents(world.url, where.index)) as documents:
        until(caught_up)
        return _samples(database, documents, sizes, rate, None)


def _samples(
    database: Database, documents: Documents, sizes: Sizes, rate: int,
    bare: Callable[[int, str], None] | None,
) -> list[float]:
    """Milliseconds from the commit of a row to its being read, for rows at random."""
    load = Load(SINGLE.format(table="lean", rows=sizes.rows), CLIENTS, rate)
    seconds = LEAD_SECONDS + sizes.samples * 0.05
    found = []
    with writing(database.dsn, load, seconds + 60):
        time.sleep(min(LEAD_SECONDS, seconds / 3))
        for n in range(sizes.samples):
            id, word = random.randint(1, sizes.rows), f"sample {n} {random.random()}"
            database.run("update lean set note = %s where id = %s", word, id)
            begun = time.perf_counter()
            if bare is not None:
                bare(id, database.value(READ_ROW, id))
            wanted = json.dumps(word)
            while wanted not in documents.get(id):
                time.sleep(PAUSE_SECONDS)
                assert time.perf_counter() - begun < 60, "a change did not arrive"
            found.append(1000 * (time.perf_counter() - begun))
            time.sleep(random.uniform(0.01, 0.03))
    return found
