"""One statement on very many rows: the log's rows stay small and memory stays bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.capture import log_of
from tests.integration.streams import World, world_of

pytestmark = pytest.mark.integration

ROWS = 250_000
MOST_MEGABYTES = 40  # the keys alone take 48 MB: they must not be held all at once


@dataclass(slots=True)
class Cost:
    """Wall time, and by how much the backend's private memory grew at its highest."""

    seconds: float = 0.0
    megabytes: float = 0.0


def private_megabytes(pid: int) -> float:
    """Memory that the backend does not share with others."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no RssAnon")


@contextmanager
def cost_of(pid: int) -> Iterator[Cost]:
    """What the block costs the backend, sampled every 5 ms."""
    cost, done, base = Cost(), threading.Event(), private_megabytes(pid)

    def sample() -> None:
        while not done.wait(0.005):
            cost.megabytes = max(cost.megabytes, private_megabytes(pid) - base)

    sampler = threading.Thread(target=sample)
    started = time.monotonic()
    sampler.start()
    try:
        yield cost
    finally:
        done.set()
        sampler.join()
        cost.seconds = time.monotonic() - started


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """A table with text keys, untracked, and the same tracked."""
    with world_of(database) as world:
        for table in ("plain", "tracked"):
            world.run(f"create table {table} (id text primary key, v int default 0)")
        world.track("tracked")
        yield world


def test_a_statement_on_very_many_rows(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """250,000 long keys become chunks of 1,000; neither writer nor log holds all in memory."""
    ((pid,),) = world.rows("select pg_backend_pid()")
    log = log_of(world, "tracked").log
    for name, statement in {
        "insert": "insert into {} select repeat(md5(g::text), 6) from generate_series(1, %s) g",
        "delete": "delete from {} where %s > 0",
    }.items():
        costs = {}
        for table in ("plain", "tracked"):
            with cost_of(pid) as costs[table]:
                world.run(statement.format(table), ROWS)
        with capsys.disabled():
            report = "; ".join(
                f"{table} {cost.seconds:.1f} s, +{cost.megabytes:.0f} MB"
                for table, cost in costs.items()
            )
            print(f"\n{name} of {ROWS:,} rows: {report}")
        assert costs["tracked"].megabytes - costs["plain"].megabytes < MOST_MEGABYTES
    assert world.rows(
        f"select count(distinct txid), count(*), sum(items), max(items) from txid_sync.{log}"
    ) == [(2, 2 * ROWS // 1000, 2 * ROWS, 1000)]
    assert world.rows(
        f"select count(distinct k) from txid_sync.{log}, unnest(k1) k"
    ) == [(ROWS,)]


@pytest.mark.parametrize(
    ("count", "moved", "keys", "log_rows"),
    [
        (1, (), 1, 1), (1000, (), 1000, 1), (1001, (), 1001, 2), (2000, (), 2000, 2),
        (2001, (), 2001, 3), (1, (1,), 2, 2), (500, (7,), 1000, 2), (999, (7, 9), 1998, 2),
        (1000, (1000,), 2000, 2), (1001, (1001,), 1002, 3), (2500, (1500,), 3500, 4),
        (2500, (1, 2500), 4000, 5),
    ],
)  # fmt: skip
def test_an_update_logs_the_keys_of_before_where_one_has_changed(
    world: World, count: int, moved: tuple[int, ...], keys: int, log_rows: int
) -> None:
    """Those of the same thousand; none if all are as they were."""
    world.run("insert into tracked select g::text from generate_series(1, %s) g", count)
    log = log_of(world, "tracked").log
    world.run(f"truncate txid_sync.{log}")
    world.run(
        "update tracked set v = 1, id = case when id = any (%s) then id || '!' else id end",
        [str(id) for id in moved],
    )
    assert world.rows(
        f"select count(*), count(distinct k), (select count(*) from txid_sync.{log})"
        f" from txid_sync.{log}, unnest(k1) k"
    ) == [(keys, count + len(moved), log_rows)]


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 1999, 2000, 2001])
def test_sizes_around_a_chunk(world: World, count: int) -> None:
    """Nothing is lost or doubled where chunks begin and end."""
    world.run("insert into tracked select g::text from generate_series(1, %s) g", count)
    log = log_of(world, "tracked").log
    assert world.rows(
        f"select count(*), count(distinct k), max(items), (select count(*) from txid_sync.{log})"
        f" from txid_sync.{log}, unnest(k1) k"
    ) == [(count, count, min(count, 1000), -(-count // 1000))]
