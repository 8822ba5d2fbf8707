#!/usr/bin/env python3
"""Changes the demo tables in every way there is, through many connections, until Ctrl-C."""

from __future__ import annotations

import os
import random
import signal
import threading
from types import FrameType

from txid_sync.scripts import find_dependencies

find_dependencies()

import click

from txid_sync import ui
from txid_sync.cli import Script
from txid_sync.dev.load import DEMO_TABLES, LoadOptions, run_load
from txid_sync.dev.load_worker import Counts
from txid_sync.dsn import check_dsn

LINE_EVERY_SECONDS = 5.0
MOST_CONNECTIONS = 1000


class Display(ui.LiveLine):
    """The rate: a live line on a terminal, else a line now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._before = (Counts(), 0.0)

    def report(self, counts: Counts, seconds: float) -> None:
        """Take in what was done so far."""
        before, then = self._before
        if seconds - then < (1.0 if self.shown else LINE_EVERY_SECONDS):
            return
        transactions = (counts.transactions - before.transactions) / (seconds - then)
        rows = (counts.rows - before.rows) / (seconds - then)
        text = (
            f"{seconds:.0f} s: {transactions:,.0f} transactions/s, {rows:,.0f} rows/s, "
            f"{counts.transactions:,} transactions, {sum(counts.errors.values()):,} errors"
        )
        self._before = (counts, seconds)
        if self.shown:
            self.show(text)
        else:
            ui.message(text)


def stop_on_signals(stop: threading.Event) -> None:
    """The first Ctrl-C or SIGTERM ends the load in order, a second one at once."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


def show(counts: Counts) -> None:
    """The summary."""
    ui.data(f"transactions {counts.transactions}")
    ui.data(f"rows {counts.rows}")
    ui.data(f"rollbacks {counts.rollbacks}")
    ui.data(f"errors {sum(counts.errors.values())}")
    for kind, count in counts.errors.most_common():
        ui.data(f"  {kind} {count}")


@click.command("load-generator.py", cls=Script, context_settings={"max_content_width": 100})
@click.argument("connections", type=click.IntRange(1, MOST_CONNECTIONS), default=32)
@click.option(
    "--seed", envvar=["RANDOM_SEED", "TXID_SYNC_SEED"], show_envvar=True, type=int,
    help="Repeats the transactions of a run.  [default: another one each time, printed]",
)
@click.option("--seconds", type=click.FloatRange(min=0), help="End after so long.")
@click.option(
    "--transactions", type=click.IntRange(min=1), help="End after so many, of all connections."
)
@click.option(
    "--max-sleep-seconds", type=click.FloatRange(min=0), default=10.0, show_default=True,
    help="Some transactions sleep for so long at most before they commit.",
)
@click.option(
    "--truncate/--no-truncate", default=True, show_default=True,
    help="Truncate a table once in some thousand transactions.",
)
@click.option(
    "--tables", default=",".join(DEMO_TABLES), show_default=True, metavar="A,B,...",
    help="The tables to write.",
)
def main(
    connections: int,
    seed: int | None,
    seconds: float | None,
    transactions: int | None,
    max_sleep_seconds: float,
    truncate: bool,
    tables: str,
) -> None:
    """Write to the demo tables through CONNECTIONS (default 32) connections, until Ctrl-C.

    POSTGRES_CONFIG is a libpq connection string (default: dbname=sync-test).  Errors that such a
    load brings about (deadlocks, unique keys, ...) are counted; a server that is away comes back.
    Exit codes: docs/exit-codes.md.
    """
    dsn = check_dsn(os.environ.get("POSTGRES_CONFIG", "dbname=sync-test"))
    chosen = random.SystemRandom().randrange(2**32) if seed is None else seed
    names = [name.strip() for name in tables.split(",") if name.strip()]
    if not names:
        raise click.BadParameter("names no table", param_hint="--tables")
    options = LoadOptions(
        connections, chosen, seconds, transactions, max_sleep_seconds, truncate, names
    )
    ui.message(f"{connections} connections, seed {chosen}")
    stop = threading.Event()
    stop_on_signals(stop)
    with Display() as display:
        counts = run_load(dsn, options, stop, display.report)
    show(counts)


if __name__ == "__main__":
    main()
