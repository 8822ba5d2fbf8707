"""The most memory that the program holds: loads, a large transaction, large documents, rest."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass

from benchmarks.report import ROOT, Figure
from benchmarks.running import Place, check_equal, clean_environment, command, place, running, until
from benchmarks.usage import peak_megabytes
from benchmarks.world import Database, World

SAMPLE_SECONDS = 0.01
REST_SECONDS = 3.0
LARGE = "create table {} (id bigint primary key, body text)"
FILL_LARGE = """
insert into {} select g, (select string_agg(md5(g::text || n), '') from generate_series(1, %s) n)
  from generate_series(1, %s) g
"""
DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rows: int
    changes: int
    large_documents: int
    large_bytes: int
    rounds: int


FORMS = {
    "full": Sizes(1_000_000, 500_000, 24, 8 * 2**20, 3),
    "short": Sizes(150_000, 150_000, 12, 8 * 2**20, 1),
    "tiny": Sizes(500, 300, 2, 1 << 16, 1),
}


def run(world: World, sizes: Sizes) -> list[Figure]:
    """Every case in a process of its own; each ends with everything in the sink."""
    found: dict[str, list[float]] = {}
    with world.database("memory") as database:
        database.lean("lean", sizes.rows)
        database.run(LARGE, table="large")
        database.track("large")
        database.run(FILL_LARGE, sizes.large_bytes // DIGEST_BYTES, sizes.large_documents,
                     table="large")  # fmt: skip
        for n in range(sizes.rounds):
            cases = _round(world, database, sizes, f"memory{n}")
            for case, megabytes in cases.items():
                found.setdefault(case, []).append(megabytes)
    musts = [150, 150, 400, 60]
    return [
        Figure(case, values, "MB", must, at_most=True)
        for (case, values), must in zip(found.items(), musts, strict=True)
    ]


def _round(world: World, database: Database, sizes: Sizes, name: str) -> dict[str, float]:
    with place(world, database, name, ["lean"]) as where:
        load = _once(where)
        database.run("update lean set paid = not paid where id <= %s", sizes.changes)
        transaction = _once(where)
        rest = _at_rest(world, where)
        check_equal(where)
    with place(world, database, f"{name}-large", ["large"], lean=False) as where:
        large = _once(where)
        check_equal(where)
    world.search.delete_indices(name)
    return {
        f"load of {sizes.rows:,} rows": load,
        f"one transaction of {sizes.changes:,} rows": transaction,
        f"documents of {sizes.large_bytes / 2**20:.3g} MB": large,
        "idle": rest,
    }


def _once(where: Place) -> float:
    """The most that `run --once` holds."""
    process = subprocess.Popen(
        command(where, "--once"), cwd=ROOT, env=clean_environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, peak_megabytes(process.pid))
        time.sleep(SAMPLE_SECONDS)
    assert process.returncode == 0, process.returncode
    return peak


def _at_rest(world: World, where: Place) -> float:
    """The most that a process holds that has nothing to do."""
    with running(where) as process:
        until(lambda: world.document(where.index, 1) is not None, 0.1)
        time.sleep(REST_SECONDS)
        return peak_megabytes(process.pid)
