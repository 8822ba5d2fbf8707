"""What a pipeline costs while nothing happens, at default settings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.report import Figure
from benchmarks.running import Place, check_equal, count, place, running, until
from benchmarks.usage import cpu_seconds, exact_cpu_seconds
from benchmarks.world import Database, World

UNIT = "% of a core"
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


@dataclass(frozen=True, slots=True)
class Subject:
    """A pipeline with its database."""

    database: Database
    where: Place


@dataclass(slots=True)
class Cost:
    """Of one quiet while; the processors' time in seconds."""

    postgres: float
    python: float


@dataclass(slots=True)
class Still:
    """What all pipelines together did in it to the servers."""

    txids: float
    wal_bytes: float
    writes: float
    elasticsearch: float


def run(world: World, sizes: Sizes) -> list[Figure]:
    """Pipelines beside each other, watched for a while when they have come to rest."""
    world.configure(autovacuum=False)
    with ExitStack() as stack:
        subjects = [stack.enter_context(_subject(world, number)) for number in sizes.tables]
        rounds = [_round(world, subjects, sizes) for _ in range(sizes.rounds)]
        for subject in subjects:
            check_equal(subject.where)
    world.configure(autovacuum=None)
    figures = _shared([still for still, _ in rounds], 100 / sizes.seconds)
    for n, number in enumerate(sizes.tables):
        costs = [costs[n] for _, costs in rounds]
        figures += _own(f"{number} tables", costs, 100 / sizes.seconds)
    return figures


@contextmanager
def _subject(world: World, number: int) -> Iterator[Subject]:
    tables = [f"t{n}" for n in range(number)]
    with world.database(f"idle{number}") as database:
        for table in tables:
            database.lean(table, 10)
        with place(world, database, f"idle{number}", tables) as where:
            yield Subject(database, where)


def _shared(found: list[Still], share: float) -> list[Figure]:
    return [
        Figure("all pipelines, txids", [still.txids for still in found], "", 0, at_most=True),
        Figure("all pipelines, WAL", [still.wal_bytes for still in found], "bytes", 0,
               at_most=True),
        Figure("all pipelines, blocks written", [still.writes for still in found], "", 0,
               at_most=True),
        Figure("all pipelines, Elasticsearch", [share * still.elasticsearch for still in found],
               UNIT),
    ]  # fmt: skip


def _own(what: str, costs: list[Cost], share: float) -> list[Figure]:
    both = [share * (cost.postgres + cost.python) for cost in costs]
    return [
        Figure(f"{what}, PostgreSQL and Python", both, UNIT, 0.5, at_most=True),
        Figure(f"{what}, Python", [share * cost.python for cost in costs], UNIT),
    ]


def _round(
    world: World, subjects: Sequence[Subject], sizes: Sizes
) -> tuple[Still, list[Cost]]:
    """Everything but this process rests."""
    with ExitStack() as stack:
        processes = []
        for subject in subjects:
            processes.append(stack.enter_context(running(subject.where)))
            last = f"{subject.where.name}-{subject.where.tables[-1]}"
            until(lambda index=last: world.document(index, 10) is not None, 0.1)
            until(lambda index=last: count(world, index) == 10)
        one = subjects[0].database
        one.run("checkpoint")
        _until_still(one, sizes.still_seconds)
        backends = [subject.database.value(BACKENDS) for subject in subjects]

        def now() -> list[float]:
            noted = [float(one.value(query)) for query in (CLOCK, WAL, WRITES)]
            noted.append(cpu_seconds(world.search.pid))
            for pids, process in zip(backends, processes, strict=True):
                noted += sum(map(exact_cpu_seconds, pids)), exact_cpu_seconds(process.pid)
            return noted

        before = now()
        time.sleep(sizes.seconds)
        changed = [after - b for after, b in zip(now(), before, strict=True)]
    costs = [Cost(*changed[n : n + 2]) for n in range(4, len(changed), 2)]
    return Still(*changed[:4]), costs


def _until_still(database: Database, seconds: float) -> None:
    """Wait until the log has not grown for longer than PostgreSQL's own notes are apart: 15 s, and
    as long as its background writer sleeps (10 s)."""
    place, since = database.value(WAL), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(seconds / 20)
        now = database.value(WAL)
        if now != place:
            place, since = now, time.monotonic()
