"""What capture costs the writers: the same table tracked and untracked, in turns.

A table with nothing but its key is the hardest reference there is: its updates are the cheapest.
One with two more indexes, of which one is on a column that changes, is what applications have; so
are begin, update and commit as statements of their own, parsed each time, as drivers send them.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks.clients import INDEXED, SINGLE, SPOKEN, THOUSAND, Load, throughput
from benchmarks.report import Figure
from benchmarks.usage import machine_seconds, measured
from benchmarks.world import Database, World

TABLES = ("untracked", "tracked")
BUSY_SHARE = 0.9  # of all processors: they are the limit
INDEXES = ("create index on {} (customer)", "create index on {} (updated)")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rows: int
    seconds: float
    rounds: int
    clients: tuple[int, ...]
    indexed_clients: tuple[int, ...]
    spoken_clients: tuple[int, ...]
    batch_clients: tuple[int, ...]


FORMS = {
    "full": Sizes(200_000, 6, 7, (1, 8, 16), (1, 8, 16), (1, 8, 16), (1, 8)),
    "short": Sizes(100_000, 2, 3, (1, 8, 16), (8,), (8,), (1,)),
    "tiny": Sizes(2_000, 1, 1, (2,), (), (), ()),
}


@dataclass(frozen=True, slots=True)
class Pace:
    """Of writers of one table: transactions a second, PostgreSQL's work for one, and the share of
    its time that the machine worked."""

    rate: float
    microseconds: float
    busy: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of writers."""

    name: str
    script: str
    clients: int
    protocol: str = "prepared"


def run(world: World, sizes: Sizes) -> list[Figure]:
    """Single rows and a thousand at a time; with fsync, and without, where the processor limits."""
    figures = []
    with world.database("writers") as database:
        for table in TABLES:
            for name in (table, f"{table}_indexed"):
                database.lean(name, sizes.rows, track=table == "tracked")
            for statement in INDEXES:
                database.run(statement, table=f"{table}_indexed")
        for fsync in (True, False):
            world.configure(fsync=fsync)
            for cell in _cells(sizes):
                what = f"{cell.name}, {cell.clients} clients, {'fsync' if fsync else 'no fsync'}"
                rounds = [_round(world, database, sizes, cell, n) for n in range(sizes.rounds)]
                figures += _figures(what, rounds, fsync)
        world.configure(fsync=None)
        _check_log(database, "tracked")
        if sizes.indexed_clients:
            _check_log(database, "tracked_indexed")
    return figures


def _cells(sizes: Sizes) -> list[Cell]:
    cells = [Cell("single rows", SINGLE, clients) for clients in sizes.clients]
    cells += [
        Cell("single rows in begin and commit, unprepared", SPOKEN, clients, "simple")
        for clients in sizes.spoken_clients
    ]
    cells += [
        Cell("single rows, two more indexes", INDEXED, clients) for clients in sizes.indexed_clients
    ]
    return cells + [Cell("1,000 rows", THOUSAND, clients) for clients in sizes.batch_clients]


def _figures(what: str, rounds: list[dict[str, Pace]], fsync: bool) -> list[Figure]:
    pairs = [(paces["tracked"], paces["untracked"]) for paces in rounds]
    busy = [tracked.busy for tracked, _ in pairs]
    limited = not fsync or median(busy) >= BUSY_SHARE
    bounds = (0.70, 0.88) if limited else (0.85, 0.97)
    return [
        Figure(f"{what}, to untracked", [t.rate / u.rate for t, u in pairs], "x", *bounds),
        Figure(f"{what}, processors busy", [100 * share for share in busy], "%"),
        Figure(f"{what}, untracked", [u.rate for _, u in pairs], "transactions/s"),
        Figure(f"{what}, untracked: PostgreSQL", [u.microseconds for _, u in pairs],
               "us/transaction"),
        Figure(f"{what}, tracked: PostgreSQL", [t.microseconds for t, _ in pairs],
               "us/transaction"),
    ]  # fmt: skip


def _round(
    world: World, database: Database, sizes: Sizes, cell: Cell, n: int
) -> dict[str, Pace]:
    """Both tables; who is first changes."""
    found = {}
    for table in TABLES if n % 2 else TABLES[::-1]:
        written = f"{table}_indexed" if cell.script == INDEXED else table
        database.run("vacuum {}", table=written)
        script = cell.script.format(table=written, rows=sizes.rows)
        load = Load(script, cell.clients, protocol=cell.protocol)
        worked, were = machine_seconds()
        with measured(world.meters) as usage:
            rate = throughput(database.dsn, load, sizes.seconds)
        until_worked, until = machine_seconds()
        changes = max(1.0, rate * sizes.seconds)
        busy = (until_worked - worked) / (until - were)
        found[table] = Pace(rate, usage.cpu["postgres"] / changes * 1e6, busy)
    return found


def _check_log(database: Database, table: str) -> None:
    """Capture must have seen what was written."""
    log = database.value("select log from txid_sync.tracked where relation = %s::regclass", table)
    statement = f'select count(*) from txid_sync."{log}"'
    assert database.value(statement) > 0, "nothing was captured"
