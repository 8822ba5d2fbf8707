"""What capture costs the writers: the same table tracked and untracked, in turns."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from benchmarks.clients import SINGLE, THOUSAND, Load, throughput
from benchmarks.report import Figure
from benchmarks.world import Database, World

TABLES = ("untracked", "tracked")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rows: int
    seconds: float
    rounds: int
    clients: tuple[int, ...]
    batch_clients: tuple[int, ...]


FORMS = {
    "full": Sizes(200_000, 6, 7, (1, 8, 16), (1, 8)),
    "short": Sizes(100_000, 2, 3, (1, 8, 16), (1,)),
    "tiny": Sizes(2_000, 1, 1, (2,), ()),
}


def run(world: World, sizes: Sizes) -> list[Figure]:
    """Single rows and a thousand at a time; with fsync, and without, where the processor limits."""
    figures = []
    with world.database("writers") as database:
        for table in TABLES:
            database.lean(table, sizes.rows, track=table == "tracked")
        for fsync in (True, False):
            world.configure(fsync=fsync)
            must, aim = (0.85, 0.97) if fsync else (0.70, 0.88)
            cells = [*product(("single rows",), sizes.clients)]
            cells += product(("1,000 rows",), sizes.batch_clients)
            for kind, clients in cells:
                values = _ratios(database, sizes, kind, clients)
                what = f"{kind}, {clients} clients, {'fsync' if fsync else 'no fsync'}"
                figures.append(Figure(f"{what}, to untracked", values[0], "x", must, aim))
                figures.append(Figure(f"{what}, untracked", values[1], "transactions/s"))
        world.configure(fsync=None)
        _check_log(database)
    return figures


def _ratios(
    database: Database, sizes: Sizes, kind: str, clients: int
) -> tuple[list[float], list[float]]:
    """Tracked to untracked, and untracked, by round; who is first changes."""
    ratios, floors = [], []
    script = SINGLE if kind == "single rows" else THOUSAND
    for n in range(sizes.rounds):
        rates = {}
        for table in TABLES if n % 2 else TABLES[::-1]:
            database.run("vacuum {}", table=table)
            load = Load(script.format(table=table, rows=sizes.rows), clients)
            rates[table] = throughput(database.dsn, load, sizes.seconds)
        ratios.append(rates["tracked"] / rates["untracked"])
        floors.append(rates["untracked"])
    return ratios, floors


def _check_log(database: Database) -> None:
    """Capture must have seen what was written."""
    log = database.value("select log from txid_sync.tracked")
    statement = f'select count(*) from txid_sync."{log}"'
    assert database.value(statement) > 0, "nothing was captured"
