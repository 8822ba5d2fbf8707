"""What a pipeline costs while nothing happens, at default settings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.report import Figure
from benchmarks.running import Place, check_equal, count, place, running, until
from benchmarks.usage import cpu_seconds, family_seconds, peak_megabytes
from benchmarks.world import Database, World

CLOCK = "select txid_snapshot_xmax(txid_current_snapshot())"
WAL = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
WRITES = "select coalesce(sum(writes + extends), 0) from pg_stat_io"
REST_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    tables: tuple[int, ...]
    seconds: float
    rounds: int


FORMS = {
    "full": Sizes((1, 200), 30, 3),
    "short": Sizes((1, 200), 20, 1),
    "tiny": Sizes((1, 3), 1, 1),
}


@dataclass(slots=True)
class Cost:
    """Of one quiet while."""

    txids: int = 0
    wal_bytes: float = 0.0
    writes: float = 0.0
    postgres: float = 0.0
    python: float = 0.0
    elasticsearch: float = 0.0


def run(world: World, sizes: Sizes) -> list[Figure]:
    """The servers alone, and with a pipeline, for every number of tables."""
    figures = []
    for number in sizes.tables:
        tables = [f"t{n}" for n in range(number)]
        alone: list[Cost] = []
        ours: list[Cost] = []
        with world.database("idle") as database:
            for table in tables:
                database.lean(table, 10)
            with place(world, database, "idle", tables) as where:
                for _ in range(sizes.rounds):
                    with _quiet(world, database, sizes.seconds) as cost:
                        pass
                    alone.append(cost)
                    ours.append(_beside(world, database, where, sizes.seconds))
                check_equal(where)
        figures += _figures(f"{number} tables", alone, ours, sizes.seconds)
    return figures


def _figures(what: str, alone: list[Cost], ours: list[Cost], seconds: float) -> list[Figure]:
    pairs = list(zip(ours, alone, strict=True))
    share = 100 / seconds
    both = [share * (o.postgres - a.postgres + o.python) for o, a in pairs]
    return [
        Figure(f"{what}, txids", [o.txids for o in ours], "", 0, at_most=True),
        Figure(f"{what}, WAL beyond the server alone",
               [o.wal_bytes - a.wal_bytes for o, a in pairs], "bytes", 0, at_most=True),
        Figure(f"{what}, block writes beyond", [o.writes - a.writes for o, a in pairs], "", 0,
               at_most=True),
        Figure(f"{what}, PostgreSQL and Python", both, "% of a core", 0.5, at_most=True),
        Figure(f"{what}, Python", [share * o.python for o in ours], "% of a core"),
        Figure(f"{what}, Elasticsearch beyond",
               [share * (o.elasticsearch - a.elasticsearch) for o, a in pairs], "% of a core"),
    ]  # fmt: skip


def _beside(world: World, database: Database, where: Place, seconds: float) -> Cost:
    with running(where) as process:
        last = f"{where.name}-{where.tables[-1]}"
        until(lambda: world.document(last, 10) is not None, 0.1)
        until(lambda: count(world, last) == 10)
        time.sleep(REST_SECONDS)
        with _quiet(world, database, seconds, process.pid) as cost:
            pass
        assert peak_megabytes(process.pid) > 0
    return cost


@contextmanager
def _quiet(world: World, database: Database, seconds: float, pid: int = 0) -> Iterator[Cost]:
    """The differences over some seconds in which this process only sleeps."""
    database.run("checkpoint")
    cost = Cost()

    def now() -> tuple[float, ...]:
        postgres = family_seconds(world.postgres.pid)
        return (
            database.value(CLOCK), float(database.value(WAL)), float(database.value(WRITES)),
            postgres, cpu_seconds(pid) if pid else 0.0, cpu_seconds(world.search.pid),
        )  # fmt: skip

    before = now()
    time.sleep(seconds)
    found = [after - b for after, b in zip(now(), before, strict=True)]
    cost.txids, cost.wal_bytes, cost.writes = int(found[0]), found[1], found[2]
    cost.postgres, cost.python, cost.elasticsearch = found[3:]
    yield cost
