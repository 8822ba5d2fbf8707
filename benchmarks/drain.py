"""Changes committed before the start, against the load of the same rows in the same run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from benchmarks.report import Figure
from benchmarks.running import Place, check_equal, drive, place
from benchmarks.usage import Usage, measured
from benchmarks.world import Database, World

INSERT_AGAIN = """
insert into lean select (json_populate_record(null::lean, row_to_json(k))).* from kept k
 where k.id between %s and %s and not exists (select from lean l where l.id = k.id)
"""
UPDATE = "update lean set paid = not paid where id between %s and %s"
DELETE = "delete from lean where id between %s and %s and id %% 2 = 0"
BATCH = 20_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rows: int
    rounds: int


FORMS = {"full": Sizes(200_000, 5), "short": Sizes(80_000, 3), "tiny": Sizes(400, 1)}


def run(world: World, sizes: Sizes) -> list[Figure]:
    """Loads into fresh indices, and drains into one that is kept, in turns."""
    rows = sizes.rows
    with world.database("drain") as database:
        database.lean("lean", rows)
        database.run("create table kept as select * from lean")
        kinds = {
            "single-row transactions": lambda: database.singles("lean", rows, rows, 7919),
            "20,000-row transactions": lambda: database.batches(UPDATE, rows, BATCH),
            "half of it deletes": lambda: _deletes(database, rows),
        }
        drains: dict[str, list[Usage]] = {kind: [] for kind in kinds}
        loads: dict[str, list[float]] = {kind: [] for kind in kinds}
        with place(world, database, "drain", ["lean"]) as where:
            drive(where)
            _load(world, database, "warm-up")
            for n in range(sizes.rounds):
                for kind, change in kinds.items():
                    loads[kind].append(_load(world, database, f"load-{n}"))
                    drains[kind].append(_drain(world, where, change))
                    database.batches(INSERT_AGAIN, rows, BATCH)
                    drive(where)
            check_equal(where)
    figures = []
    for kind in kinds:
        figures += _figures(kind, loads[kind], drains[kind], rows)
    return [*figures, Figure("load", [rows / s for s in chain(*loads.values())], "documents/s")]


def _figures(kind: str, loads: list[float], drains: list[Usage], rows: int) -> list[Figure]:
    ratios = [load / drain.seconds for load, drain in zip(loads, drains, strict=True)]
    cost = {m: [d.cpu[m] / rows * 1e6 for d in drains] for m in drains[0].cpu}
    return [
        Figure(f"{kind}, to load", ratios, "x", 0.8, 1.0),
        *(Figure(f"{kind}: {meter}", values, "us/row") for meter, values in cost.items()),
    ]


def _load(world: World, database: Database, name: str) -> float:
    with place(world, database, name, ["lean"]) as where:
        world.settle()
        seconds = float(drive(where))
        world.search.delete_indices(name)
    return seconds


def _drain(world: World, where: Place, change: Callable[[], None]) -> Usage:
    def used(work: Callable[[], None]) -> Usage:
        with measured(world.meters, world.settle) as usage:
            work()
        return usage

    change()
    world.settle()
    found = drive(where, used)
    assert isinstance(found, Usage)
    return found


def _deletes(database: Database, rows: int) -> None:
    """Every even row is deleted, every odd one changed."""
    database.batches(DELETE, rows, BATCH)
    database.batches(f"{UPDATE} and id %% 2 = 1", rows, BATCH)
