"""What the benchmarks share: private servers, a table of about 300 bytes a row, medians."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2.extensions import connection

from txid_sync import schema
from txid_sync.dev.elasticsearch import ElasticsearchServer
from txid_sync.dev.postgres import PostgresServer

ROUNDS = 3
TABLE = "public.bench"
CREATE = """
create table public.bench (
  id bigint primary key, customer int, status text, total numeric(12, 2), paid boolean,
  created timestamptz, updated timestamptz, note text, tags text[], details jsonb)
"""
FILL = """
insert into public.bench
select g, g %% 5000, (array['new', 'paid', 'sent'])[1 + g %% 3], g * 1.25, g %% 2 = 0,
       timestamptz '2026-01-01' + g * interval '1 s', timestamptz '2026-02-01' + g * interval '1 s',
       repeat('words of a note ', 3), array['red', 'blue'], jsonb_build_object('a', g, 'b', 'x')
  from generate_series(%s, %s) g
"""


@dataclass(frozen=True, slots=True)
class Servers:
    """A database with a tracked table of `rows` rows, and an Elasticsearch."""

    dsn: str
    url: str
    admin: connection
    postgres: PostgresServer
    search: ElasticsearchServer


@contextmanager
def servers(rows: int) -> Iterator[Servers]:
    """Private servers with the table filled, analysed and tracked."""
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer(settings={"shared_buffers": "256MB"}))
        search = stack.enter_context(ElasticsearchServer(heap_megabytes=1024))
        dsn = postgres.createdb("bench")
        admin = psycopg2.connect(dsn)
        stack.callback(admin.close)
        admin.autocommit = True
        with admin.cursor() as cursor:
            cursor.execute(CREATE)
            cursor.execute(FILL, (1, rows))
            cursor.execute("vacuum analyze public.bench")
        schema.install(admin)
        schema.track(admin, TABLE)
        yield Servers(dsn, search.url, admin, postgres, search)


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of wall and of this process's CPU that `work` takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and range."""
    return {
        "median": statistics.median(values), "min": min(values), "max": max(values),
    }  # fmt: skip


def report(name: str, figures: dict[str, Any], lines: Sequence[str]) -> None:
    """Print a table for people and a JSON line for programs."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"\n{name}   ({machine})")
    for line in lines:
        print(f"  {line}")
    print(json.dumps({"benchmark": name, "machine": machine, **figures}, sort_keys=True))
