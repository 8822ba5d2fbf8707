#!/usr/bin/env python3
"""The demo's syncer: seven tables to seven indices, and it kills itself now and then.

    while true; do ./sync.py; done

keeps Elasticsearch equal to PostgreSQL all the same.  The tables are those of apply-schema.sql.
"""

from __future__ import annotations

import os
import random
import signal
import threading

from txid_sync.scripts import find_dependencies

find_dependencies()

import click

from txid_sync import logs, ui
from txid_sync.cli import Script
from txid_sync.commands import DEBUG
from txid_sync.commands.options import option
from txid_sync.config import Given, parse, read_secret
from txid_sync.runner import run_until_stopped
from txid_sync.settings import Config
from txid_sync.wiring import assemble

TABLES = "items,codes,stock,notes,measurements,orders,order_lines"
SERVERS = {"POSTGRES_CONFIG": "dbname=sync-test", "ELASTICSEARCH_URL": "http://localhost:9200"}


def configuration(tables: str, index_prefix: str, page_size: int) -> Config:
    """What txid-sync.toml would say; settings also come from the environment."""
    names = [name.strip() for name in tables.split(",") if name.strip()]
    documents = [{"table": name, "index": f"{index_prefix}{name}"} for name in names]
    given = {
        "pipeline": {"name": f"{index_prefix}demo", "page_documents": page_size},
        "sink": {},
        "document": documents,
    }
    return parse(Given(given, {**SERVERS, **os.environ}, {}, "sync.py"), read_secret)


def crash_later(mean_seconds: float, seed: int | None) -> None:
    """SIGKILL this process after a random time, exponential around the mean."""
    delay_seconds = random.Random(seed).expovariate(1 / mean_seconds)
    timer = threading.Timer(delay_seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


@click.command("sync.py", cls=Script, context_settings={"max_content_width": 100})
@option("--once", envvar="SYNC_ONCE", is_flag=True, help="End when the sink is complete.")
@option(
    "--crash-after-seconds", envvar="SYNC_CRASH_AFTER_SECONDS", metavar="MEAN",
    type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True,
    help="SIGKILL itself after a random time with this mean.",
)
@option("--no-crash", envvar="SYNC_NO_CRASH", is_flag=True, help="Do not.")
@option("--seed", envvar="SYNC_SEED", type=int, help="Seed of the random time.")
@option(
    "--page-size", envvar="SYNC_PAGE_SIZE", type=int, default=2000, show_default=True,
    help="Documents in one page at most.",
)
@option(
    "--tables", envvar="SYNC_TABLES", default=TABLES, show_default=True, metavar="A,B,...",
    help="The tables to sync.",
)
@option(
    "--index-prefix", envvar="SYNC_INDEX_PREFIX", default="",
    help="Goes before the table's name, and before the pipeline's.",
)
@option(
    "--log-format", envvar="TXID_SYNC_LOG_FORMAT", type=click.Choice(logs.FORMATS),
    default="text", show_default=True, help="How messages look on stderr.",
)
@option("--debug", envvar="TXID_SYNC_DEBUG", is_flag=True, help="More messages, tracebacks.")
@click.pass_context
def main(
    context: click.Context,
    /,
    once: bool,
    crash_after_seconds: float,
    no_crash: bool,
    seed: int | None,
    page_size: int,
    tables: str,
    index_prefix: str,
    log_format: str,
    debug: bool,
) -> None:
    """Keep the demo's indices in step with its tables, dying at random on the way.

    POSTGRES_CONFIG is a libpq connection string (default: dbname=sync-test), ELASTICSEARCH_URL
    the sink (default: http://localhost:9200).
    """
    context.meta[DEBUG] = debug
    logs.set_up(log_format, debug)
    config = configuration(tables, index_prefix, page_size)
    if not no_crash:
        crash_later(crash_after_seconds, seed)
        ui.message(f"kills itself after {crash_after_seconds:g} seconds, on average")
    with assemble(config) as assembly:
        run_until_stopped(assembly, once)


if __name__ == "__main__":
    main()
