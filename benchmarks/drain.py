"""Changes committed before the start, against the load of the same rows in the same run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from benchmarks.report import Figure
from benchmarks.running import Place, check_equal, drive, place
from benchmarks.usage import Usage, measured, until_compiled
from benchmarks.world import Database, World

INSERT_AGAIN = """
insert into lean select (json_populate_record(null::lean, row_to_json(k))).* from kept k
 where k.id between %s and %s and not exists (select from lean l where l.id = k.id)
"""
UPDATE = "update lean set paid = not paid where id between %s and %s"
DELETE = "delete from lean where id between %s and %s and id %% 2 = 0"
BATCH = 20_000
WARMING_DRAINS = 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rows: int
    rounds: int


FORMS = {"full": Sizes(200_000, 5), "short": Sizes(60_000, 3), "tiny": Sizes(400, 1)}


def run(world: World, sizes: Sizes) -> list[Figure]:
    """Every round loads a fresh index, makes its changes, and drains them into that index."""
    rows = sizes.rows
    with world.database("drain") as database:
        database.lean("lean", rows)
        database.run("create table kept as select * from lean")
        kinds = {
            "single-row transactions": lambda: database.singles("lean", rows, rows, 7919),
            "20,000-row transactions": lambda: database.batches(UPDATE, rows, BATCH),
            "half of it deletes": lambda: _deletes(database, rows),
        }
        if world.patient:
            until_compiled(
                world.search.pid, lambda: _warm(world, database, rows), WARMING_DRAINS
            )
        drains: dict[str, list[Usage]] = {kind: [] for kind in kinds}
        loads: dict[str, list[float]] = {kind: [] for kind in kinds}
        for n in range(sizes.rounds):
            for kind, change in kinds.items():
                with place(world, database, f"drain-{n}", ["lean"]) as where:
                    world.settle()
                    loads[kind].append(drive(where))
                    drains[kind].append(_drain(world, where, change))
                    check_equal(where)
                world.search.delete_indices(f"drain-{n}")
                database.batches(INSERT_AGAIN, rows, BATCH)
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


def _warm(world: World, database: Database, rows: int) -> None:
    """A drain that does not count: a Java machine compiles what it does for the first time."""
    with place(world, database, "warm", ["lean"]) as where:
        drive(where)
        database.batches(UPDATE, rows, BATCH)
        drive(where)
    world.search.delete_indices("warm")


def _deletes(database: Database, rows: int) -> None:
    """Every even row is deleted, every odd one changed."""
    database.batches(DELETE, rows, BATCH)
    database.batches(f"{UPDATE} and id %% 2 = 1", rows, BATCH)
