"""A load of lean documents, against what Elasticsearch and PostgreSQL need for it at least."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import prebuilt
from benchmarks.report import Figure
from benchmarks.running import Place, check_equal, count, drive, place
from benchmarks.usage import Usage, measured
from benchmarks.world import Database, World, copy

DOCUMENTS, IN_FLIGHT = 5000, 2
METERS = ("elasticsearch", "postgres", "python")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rows: int
    rounds: int


FORMS = {"full": Sizes(1_000_000, 5), "short": Sizes(140_000, 3), "tiny": Sizes(500, 1)}


@dataclass(slots=True)
class Rounds:
    """What was measured, in microseconds a document."""

    floors: list[float] = field(default_factory=list)
    by_server: dict[str, list[float]] = field(default_factory=dict)
    ratios: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def add(self, rows: int, sent: Usage, copied: Usage, ours: Usage) -> None:
        """Take in a round."""
        cores = os.cpu_count() or 1
        floor = sent.cpu["elasticsearch"] + copied.cpu["postgres"]
        self.floors.append(floor / rows * 1e6)
        self.ratios.append(ours.total / floor)
        self.rates.append(rows / ours.seconds)
        self.shares.append(floor / cores / ours.seconds)
        named = {f"floor: {m}": u.cpu[m] for m, u in zip(METERS, (sent, copied), strict=False)}
        for name, seconds in {**named, **{f"ours: {m}": ours.cpu[m] for m in METERS}}.items():
            self.by_server.setdefault(name, []).append(seconds / rows * 1e6)


def run(world: World, sizes: Sizes) -> list[Figure]:
    """Ready bodies, COPY, and the pipeline, in turns; the sink settles after each."""
    found = Rounds()
    with world.database("load_lean") as database:
        database.lean("lean", sizes.rows)
        with place(world, database, "bodies", ["lean"]) as where:
            bodies = prebuilt.bodies_of(where, DOCUMENTS)
        for n in range(-1, sizes.rounds):  # the first warms the servers
            sent = _reference(world, database, bodies, n)
            copied = _used(world, lambda: copy(database, "lean"))
            with place(world, database, f"ours{n}", ["lean"]) as where:
                ours = drive(where, lambda work: _used(world, work))
                _check(world, where, sizes.rows, whole=n == sizes.rounds - 1)
            world.search.delete_indices("ours")
            if n >= 0:
                found.add(sizes.rows, sent, copied, ours)
    return [
        Figure("processor per document, to the floor", found.ratios, "x", 1.35, 1.15,
               at_most=True),
        Figure("documents/s, to cores / floor", found.shares, "x", 0.75, 0.9),
        Figure("documents/s", found.rates),
        Figure("floor", found.floors, "us/document"),
        *(Figure(name, values, "us/document") for name, values in found.by_server.items()),
    ]  # fmt: skip


def _reference(world: World, database: Database, bodies: list[bytes], n: int) -> Usage:
    with place(world, database, f"reference{n}", ["lean"]) as where:
        prebuilt.prepare(where)
        used = _used(world, lambda: prebuilt.send(world.url, where.index, bodies, IN_FLIGHT))
    world.search.delete_indices("reference")
    return used


def _used(world: World, work: Callable[[], None]) -> Usage:
    world.settle()
    with measured(world.meters, world.settle) as usage:
        work()
    return usage


def _check(world: World, where: Place, rows: int, whole: bool) -> None:
    """All documents are there; in the last round, every one is compared."""
    assert count(world, where.index) == rows
    if whole:
        check_equal(where)
