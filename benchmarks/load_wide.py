"""A load with every column mapped and indexed, against the best rate for ready bodies."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import prebuilt
from benchmarks.report import Figure
from benchmarks.running import check_equal, count, drive, place
from benchmarks.usage import seconds_of, until_compiled
from benchmarks.world import Database, World

WARMING = 6  # loads at the most
Shape = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured; a shape is (documents in a request, requests in flight)."""

    rows: int
    rounds: int
    shapes: tuple[Shape, ...]
    tried: int


_GRID = tuple((documents, n) for documents in (1000, 2000, 5000) for n in (1, 2, 4, 8))
FORMS = {
    "full": Sizes(200_000, 5, _GRID, 3),
    "short": Sizes(40_000, 3, ((1000, 2), (2000, 4), (5000, 2)), 1),
    "tiny": Sizes(400, 1, ((100, 2),), 1),
}


def run(world: World, sizes: Sizes) -> list[Figure]:
    """Find the best shape of ready bodies, then send it and run the pipeline in turns."""
    with world.database("load_wide") as database:
        database.wide("wide", sizes.rows)
        with place(world, database, "bodies", ["wide"], lean=False) as where:
            bodies = {
                documents: prebuilt.bodies_of(where, documents)
                for documents in {documents for documents, _ in sizes.shapes}
            }
        first = sizes.shapes[0]
        _send(world, database, bodies[first[0]], first)
        if world.patient:  # compiling costs more than the difference that is looked for
            until_compiled(
                world.search.pid, lambda: _ours(world, database, sizes.rows, whole=False), WARMING
            )
        tries = {
            shape: min(_send(world, database, bodies[shape[0]], shape) for _ in range(sizes.tried))
            for shape in sizes.shapes
        }
        best = min(tries, key=lambda shape: tries[shape])
        ratios, rates, floors = [], [], []
        for n in range(sizes.rounds):
            floor = _send(world, database, bodies[best[0]], best)
            seconds = _ours(world, database, sizes.rows, whole=n == sizes.rounds - 1)
            ratios.append(floor / seconds)
            rates.append(sizes.rows / seconds)
            floors.append(sizes.rows / floor)
        size = sum(map(len, bodies[best[0]])) / sizes.rows
    shape = f"{best[0]} documents, {best[1]} in flight"
    return [
        Figure("load to the best rate of ready bodies", ratios, "x", 0.8, 0.9),
        Figure("load", rates, "documents/s"),
        Figure(f"ready bodies, {shape}", floors, "documents/s"),
        Figure("bytes of a document with its action", [size], "bytes"),
    ]


def _send(world: World, database: Database, bodies: list[bytes], shape: Shape) -> float:
    with place(world, database, "ready", ["wide"], lean=False) as where:
        prebuilt.prepare(where)
        world.settle()
        seconds = seconds_of(lambda: prebuilt.send(world.url, where.index, bodies, shape[1]))
        world.search.delete_indices("ready")
    return seconds


def _ours(world: World, database: Database, rows: int, whole: bool) -> float:
    with place(world, database, "ours", ["wide"], lean=False) as where:
        world.settle()
        seconds = float(drive(where))
        assert count(world, where.index) == rows
        if whole:
            check_equal(where)
        world.search.delete_indices("ours")
    return seconds
