"""What a pipeline costs while nothing happens, at default settings."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.report import Figure
from benchmarks.running import Place, check_equal, count, place, running, until
from benchmarks.usage import cpu_seconds
from benchmarks.world import Database, World

CLOCK = "select txid_snapshot_xmax(txid_current_snapshot())"
WAL = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
WRITES = "select coalesce(sum(writes + extends), 0) from pg_stat_io"
BACKENDS = """
select array_agg(pid) from pg_stat_activity
 where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    tables: tuple[int, ...]
    seconds: float
    rounds: int
    still_seconds: float


FORMS = {
    "full": Sizes((1, 200), 30, 3, 27),
    "short": Sizes((1, 200), 12, 1, 27),
    "tiny": Sizes((1, 3), 1, 1, 1),
}


@dataclass(slots=True)
class Cost:
    """Of one quiet while; the processors' time in seconds."""

    txids: int
    wal_bytes: float
    writes: float
    postgres: float
    python: float
    elasticsearch: float


def run(world: World, sizes: Sizes) -> list[Figure]:
    """One process after the other, each watched for a while when it has come to rest."""
    figures = []
    world.configure(autovacuum=False)
    for number in sizes.tables:
        tables = [f"t{n}" for n in range(number)]
        with world.database("idle") as database:
            for table in tables:
                database.lean(table, 10)
            with place(world, database, "idle", tables) as where:
                costs = [_beside(world, database, where, sizes) for _ in range(sizes.rounds)]
                check_equal(where)
        figures += _figures(f"{number} tables", costs, 100 / sizes.seconds)
    world.configure(autovacuum=None)
    return figures


def _figures(what: str, costs: list[Cost], share: float) -> list[Figure]:
    unit = "% of a core"
    both = [share * (cost.postgres + cost.python) for cost in costs]
    return [
        Figure(f"{what}, txids", [c.txids for c in costs], "", 0, at_most=True),
        Figure(f"{what}, WAL", [c.wal_bytes for c in costs], "bytes", 0, at_most=True),
        Figure(f"{what}, blocks written", [c.writes for c in costs], "", 0, at_most=True),
        Figure(f"{what}, PostgreSQL and Python", both, unit, 0.5, at_most=True),
        Figure(f"{what}, Python", [share * c.python for c in costs], unit),
        Figure(f"{what}, Elasticsearch", [share * c.elasticsearch for c in costs], unit),
    ]


def _beside(world: World, database: Database, where: Place, sizes: Sizes) -> Cost:
    with running(where) as process:
        last = f"{where.name}-{where.tables[-1]}"
        until(lambda: world.document(last, 10) is not None, 0.1)
        until(lambda: count(world, last) == 10)
        database.run("checkpoint")
        _until_still(database, sizes.still_seconds)
        return _watch(world, database, process.pid, sizes.seconds)


def _until_still(database: Database, seconds: float) -> None:
    """Wait until the log has not grown for longer than PostgreSQL's own notes are apart: 15 s, and
    as long as its background writer sleeps (10 s)."""
    place, since = database.value(WAL), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(seconds / 20)
        now = database.value(WAL)
        if now != place:
            place, since = now, time.monotonic()


def _watch(world: World, database: Database, pid: int, seconds: float) -> Cost:
    """The differences over some seconds in which this process only sleeps."""
    backends = database.value(BACKENDS)

    def now() -> tuple[float, ...]:
        noted = [float(database.value(query)) for query in (CLOCK, WAL, WRITES)]
        postgres = sum(map(cpu_seconds, backends))
        return (*noted, postgres, cpu_seconds(pid), cpu_seconds(world.search.pid))

    before = now()
    time.sleep(seconds)
    txids, *others = [after - b for after, b in zip(now(), before, strict=True)]
    return Cost(int(txids), *others)
