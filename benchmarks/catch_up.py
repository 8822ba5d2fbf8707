"""Many changes of few keys after an outage, against the load of those keys."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.report import Figure
from benchmarks.running import check_equal, drive, place
from benchmarks.world import World


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    keys: int
    changes: int
    rounds: int


FORMS = {
    "full": Sizes(50_000, 1_000_000, 3),
    "short": Sizes(15_000, 180_000, 3),
    "tiny": Sizes(50, 500, 1),
}
STRIDE = 7919  # the changes of a key are far from each other


def run(world: World, sizes: Sizes) -> list[Figure]:
    """Load all keys, change each of them many times while nobody looks, catch up."""
    ratios, times, sent = [], [], []
    world.configure(fsync=False)
    with world.database("catchup") as database:
        database.lean("lean", sizes.keys)
        with place(world, database, "warm", ["lean"]) as warm:
            drive(warm)
        for n in range(sizes.rounds):
            with place(world, database, f"round-{n}", ["lean"]) as where:
                world.settle()
                load = float(drive(where))
                before = _written(world, where.index)
                database.singles("lean", sizes.changes, sizes.keys, STRIDE)
                database.run("vacuum analyze lean")
                seconds = float(drive(where))
                check_equal(where)
                times.append(seconds)
                ratios.append(seconds / load)
                sent.append((_written(world, where.index) - before) / sizes.keys)
    world.configure(fsync=None)
    return [
        Figure("catch-up to load of the keys", ratios, "x", 5.0, 1.5, at_most=True),
        Figure("documents sent for each key", sent),
        Figure("catch-up", times, "s"),
    ]


def _written(world: World, index: str) -> int:
    """How many writes Elasticsearch has counted in an index."""
    found = world.search.request("GET", f"/{index}/_stats/indexing")
    return int(found["_all"]["primaries"]["indexing"]["index_total"])
