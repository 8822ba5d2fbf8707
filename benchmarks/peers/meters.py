"""Seconds of processor and megabytes of the processes that take part."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.site import Site
from txid_sync.dev.processes import children, stat_fields

TICKS = os.sysconf("SC_CLK_TCK")
# Places in /proc/PID/stat, counted from the state.
UTIME, STIME, CUTIME, CSTIME = 11, 12, 13, 14


def cpu_seconds(pid: int, ended_children: bool = False) -> float:
    """Of one process with its threads; with those of its children that have ended, if wanted."""
    fields = stat_fields(pid)
    wanted = (UTIME, STIME, CUTIME, CSTIME) if ended_children else (UTIME, STIME)
    return sum(int(fields[n]) for n in wanted) / TICKS if fields else 0.0


def peak_megabytes(pid: int) -> float:
    """The most memory that a living process has held so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


@dataclass(slots=True)
class Usage:
    """What a piece of work took, in seconds; `elasticsearch` is not in `pipeline`."""

    seconds: float = 0.0
    pipeline: float = 0.0
    elasticsearch: float = 0.0


@contextmanager
def measured(site: Site, pid: int) -> Iterator[Usage]:
    """Of a block: `pipeline` is the contender with PostgreSQL and Redis."""
    usage, before, begun = Usage(), _now(site, pid), time.perf_counter()
    yield usage
    usage.seconds = time.perf_counter() - begun
    after = _now(site, pid)
    usage.pipeline, usage.elasticsearch = (b - a for a, b in zip(before, after, strict=True))


def _now(site: Site, pid: int) -> tuple[float, float]:
    server = site.postgres.pid
    postgres = cpu_seconds(server, ended_children=True) + sum(map(cpu_seconds, children(server)))
    pipeline = cpu_seconds(pid) + postgres + cpu_seconds(site.redis.pid)
    return pipeline, cpu_seconds(site.search.pid)
