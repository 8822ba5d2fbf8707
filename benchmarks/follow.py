"""The highest rate of single-row transactions that is followed with a lag under a second."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from benchmarks.clients import SINGLE, Load, rate_of, writing
from benchmarks.documents import Documents
from benchmarks.report import Figure
from benchmarks.running import check_equal, drive, place, running, until
from benchmarks.world import Database, World

CLIENTS = 8
LAG_SECONDS, BEAT_SECONDS, RAMP_SHARE, CAUGHT_UP_SECONDS = 1.0, 0.02, 0.3, 0.2
LEAST_SHARE = 0.95
# Commits that do not wait for the disk, so that it is not what limits the writers.
WITHOUT_WAITING = {"PGOPTIONS": "-c synchronous_commit=off"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rows: int
    rates: tuple[int, ...]
    seconds: float
    rounds: int


_FINE = (1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 10_000, 12_000, 15_000)
FORMS = {
    "full": Sizes(100_000, _FINE, 10, 3),
    "short": Sizes(50_000, (4000, 8000, 12_000), 5, 3),
    "tiny": Sizes(500, (20,), 1, 1),
}


def run(world: World, sizes: Sizes) -> list[Figure]:
    """Step the writers' rate up until the pipeline falls behind, several times."""
    followed: list[float] = []
    lags: list[float] = []
    with world.database("follow") as database:
        database.lean("lean", sizes.rows)
        with place(world, database, "follow", ["lean"]) as where:
            drive(where)
            with running(where), closing(Documents(world.url, where.index)) as documents:
                _catch_up(database, documents)
                _trial(database, documents, sizes, sizes.rates[0] // 2)  # warms the servers
                _catch_up(database, documents)
                for _ in range(sizes.rounds):
                    rate, lag = _step_up(database, documents, sizes)
                    followed.append(rate)
                    lags.append(lag)
            drive(where)
            check_equal(where)
    return [
        Figure("highest rate followed", followed, "changes/s", 4000, 8000),
        Figure("longest lag at that rate", lags, "s"),
    ]


def _step_up(database: Database, documents: Documents, sizes: Sizes) -> tuple[float, float]:
    """The last rate that was reached and followed, and the longest lag at it."""
    best = (0.0, 0.0)
    for rate in sizes.rates:
        reached, lag = _trial(database, documents, sizes, rate)
        _catch_up(database, documents)
        if lag >= LAG_SECONDS:
            break
        best = max(best, (reached, lag))
        if reached < LEAST_SHARE * rate:
            break
    return best


def _trial(
    database: Database, documents: Documents, sizes: Sizes, rate: int
) -> tuple[float, float]:
    """The writers' true rate, and the longest lag after the first while."""
    environment = {**os.environ, **WITHOUT_WAITING}
    load = Load(SINGLE.format(table="lean", rows=sizes.rows), CLIENTS, rate, environment)
    lags = []
    with writing(database.dsn, load, sizes.seconds) as process:
        begun = time.perf_counter()
        while process.poll() is None:
            lag = _beat(database, documents)
            if time.perf_counter() - begun > RAMP_SHARE * sizes.seconds:
                lags.append(lag)
            time.sleep(BEAT_SECONDS)
        return rate_of(process, sizes.seconds), max(lags, default=0.0)


def _beat(database: Database, documents: Documents) -> float:
    """Note the time in a row; how old is the one that can be read."""
    database.run("update lean set note = %s where id = 1", str(time.perf_counter()))
    return time.perf_counter() - _noted(documents)


def _noted(documents: Documents) -> float:
    found: Mapping[str, Any] = documents.source(1)
    try:
        return float(found["note"])
    except ValueError:
        return 0.0


def _catch_up(database: Database, documents: Documents) -> None:
    until(lambda: _beat(database, documents) < CAUGHT_UP_SECONDS, BEAT_SECONDS)
