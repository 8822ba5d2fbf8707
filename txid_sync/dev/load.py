"""The load generator: many connections that change the demo tables in every way there is.

The work of a connection follows from the seed and its number; see load_transactions.py for what
comes how often, load_changes.py for how rows are changed.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import connection

from txid_sync.dev.load_tables import find_tables, powers, rows
from txid_sync.dev.load_transactions import GID_PREFIX, Plan, finish
from txid_sync.dev.load_worker import LOCK_CLASS, Counts, Worker, kind_of, open_session
from txid_sync.errors import TxidSyncError
from txid_sync.sources.postgres_errors import translate

DEMO_TABLES = ("items", "codes", "stock", "notes", "measurements", "orders", "order_lines")
TICK_SECONDS = 0.25
JOIN_SECONDS = 3.0
CLEAN_UP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a run does; `seconds` and `transactions` None: until it is stopped."""

    connections: int
    seed: int
    seconds: float | None = None
    transactions: int | None = None
    max_sleep_seconds: float = 10.0
    truncate: bool = True
    tables: Sequence[str] = DEMO_TABLES


def run_load(
    dsn: str,
    options: LoadOptions,
    stop: threading.Event,
    report: Callable[[Counts, float], None] = lambda _counts, _seconds: None,
) -> Counts:
    """Run the load until its end or until `stop` is set; no prepared transaction is left.

    `report` gets the counts and the seconds since the start, several times per second.  Raises
    SourceUnavailable if the server is away at the start (later it is waited for) or at the end,
    PreconditionError if a table is missing or the role may not write.
    """
    run = random.SystemRandom().randrange(2**31)
    plan = _plan(dsn, options, run, stop)
    workers = [
        Worker(
            dsn, plan, stop, seed=options.seed, number=number, run=run,
            limit=_share(options.transactions, options.connections, number),
        )
        for number in range(options.connections)
    ]  # fmt: skip
    for worker in workers:
        worker.start()
    try:
        _watch(workers, options.seconds, stop, report)
    finally:
        stop.set()
        _join(workers)
        _clean_up(dsn, run)
    return total(workers)


def total(workers: Sequence[Worker]) -> Counts:
    """The counts of all connections."""
    counts = Counts()
    for worker in workers:
        counts.add(worker.counts)
    return counts


def _share(transactions: int | None, connections: int, number: int) -> int | None:
    """How many of all transactions are this connection's."""
    if transactions is None:
        return None
    return transactions // connections + (number < transactions % connections)


def _plan(dsn: str, options: LoadOptions, run: int, stop: threading.Event) -> Plan:
    try:
        with contextlib.closing(open_session(dsn, run)) as session:
            allowed = powers(session)
            tables = find_tables(session, options.tables)
            _finish_leftovers(session)
    except psycopg2.Error as error:
        raise translate(error, "start the load") from None
    return Plan(tables, allowed, options.max_sleep_seconds, options.truncate, stop.wait)


def _finish_leftovers(session: connection) -> None:
    """Roll back what dead generators have prepared: it holds locks for ever."""
    with session.cursor() as cursor:
        for gid in _prepared(session):
            run = gid.removeprefix(GID_PREFIX).partition("/")[0]
            lock = (LOCK_CLASS, int(run) if run.isdecimal() else 0)
            cursor.execute("select pg_try_advisory_lock(%s, %s)", lock)
            if cursor.fetchone() == (True,):  # nobody of that run is connected
                finish(cursor, gid, commit=False)
                cursor.execute("select pg_advisory_unlock(%s, %s)", lock)


def _prepared(session: connection) -> list[str]:
    return [row["gid"] for row in rows(session, "prepared")]


def _watch(
    workers: Sequence[Worker],
    seconds: float | None,
    stop: threading.Event,
    report: Callable[[Counts, float], None],
) -> None:
    """Report until the time is over or all is done; raises what a worker could not go on with."""
    begun = time.monotonic()
    while not stop.is_set() and any(worker.is_alive() for worker in workers):
        passed = time.monotonic() - begun
        report(total(workers), passed)
        if seconds is not None and passed >= seconds:
            break
        left = TICK_SECONDS if seconds is None else min(TICK_SECONDS, seconds - passed)
        stop.wait(left)
    for worker in workers:
        if isinstance(worker.fatal, psycopg2.Error):
            raise translate(worker.fatal, "write the load") from None
        if worker.fatal is not None:
            raise worker.fatal


def _join(workers: Sequence[Worker]) -> None:
    """Wait for transactions to end; those that take long are cancelled."""
    deadline = time.monotonic() + JOIN_SECONDS
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    for worker in workers:
        while worker.is_alive():
            worker.cancel()
            worker.join(0.2)


def _clean_up(dsn: str, run: int) -> None:
    """Roll back what this run has left prepared; waits for a server that is away."""
    deadline = time.monotonic() + CLEAN_UP_SECONDS
    while True:
        try:
            with contextlib.closing(open_session(dsn, run)) as session, session.cursor() as cursor:
                mine = [g for g in _prepared(session) if g.startswith(f"{GID_PREFIX}{run}/")]
                for gid in mine:
                    finish(cursor, gid, commit=False)
        except psycopg2.Error as error:
            problem: TxidSyncError = translate(error, "roll back prepared transactions")
            if kind_of(error) is None or time.monotonic() > deadline:
                raise problem from None
            time.sleep(TICK_SECONDS)
        else:
            return
