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
    world.configure(autovacuum=False)  # it would fall into some of the measurements
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
        loads: dict[str, list[Usage]] = {kind: [] for kind in kinds}
        for n in range(sizes.rounds):
            for kind, change in kinds.items():
                with place(world, database, f"drain-{n}", ["lean"]) as where:
                    loads[kind].append(_driven(world, where))
                    change()
                    drains[kind].append(_driven(world, where))
                    check_equal(where)
                world.search.delete_indices(f"drain-{n}")
                database.batches(INSERT_AGAIN, rows, BATCH)
                database.run("vacuum lean")
    world.configure(autovacuum=None)
    figures = []
    for kind in kinds:
        figures += _figures(kind, loads[kind], drains[kind], rows)
    all_loads = [*chain(*loads.values())]
    rate = Figure("load", [rows / load.seconds for load in all_loads], "documents/s")
    return [*figures, rate, *_costs("load", all_loads, rows)]


def _figures(kind: str, loads: list[Usage], drains: list[Usage], rows: int) -> list[Figure]:
    ratios = [load.seconds / drain.seconds for load, drain in zip(loads, drains, strict=True)]
    return [Figure(f"{kind}, to load", ratios, "x", 0.8, 1.0), *_costs(kind, drains, rows)]


def _costs(what: str, usages: list[Usage], rows: int) -> list[Figure]:
    return [
        Figure(f"{what}: {meter}", [usage.cpu[meter] / rows * 1e6 for usage in usages], "us/row")
        for meter in usages[0].cpu
    ]


def _driven(world: World, where: Place) -> Usage:
    """What one run of the pipeline takes until the sink has all."""

    def used(work: Callable[[], None]) -> Usage:
        with measured(world.meters, world.settle) as usage:
            work()
        return usage

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
