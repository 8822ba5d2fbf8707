"""`txid-sync run`: sync until stopped, or once."""

from __future__ import annotations

from dataclasses import replace

import click

from txid_sync import ui
from txid_sync.commands.options import configured, option, require_documents
from txid_sync.runner import run_until_stopped
from txid_sync.settings import Config, StatusSettings
from txid_sync.sinks.discard import DiscardSink
from txid_sync.wiring import Choices, assemble


@click.command("run")
@option(
    "--once", envvar="TXID_SYNC_ONCE", is_flag=True,
    help="End as soon as the sink has all that the source had.",
)
@option(
    "--dry-run", envvar="TXID_SYNC_DRY_RUN", is_flag=True,
    help="Read everything once, write nothing anywhere, tell how much it was.",
)
@option(
    "--no-load", envvar="TXID_SYNC_NO_LOAD", is_flag=True,
    help="First start only: begin with the changes from now on.",
)
@option(
    "--allow-deletes", envvar="TXID_SYNC_ALLOW_DELETES", is_flag=True,
    help="Take the delete brake off: a sweep may delete any share of an index.",
)
@option(
    "--listen", envvar="TXID_SYNC_LISTEN", metavar="HOST:PORT",
    help="Answer HTTP: /status, /metrics, /healthz.  A port alone: on 127.0.0.1.",
)
@configured
def command(
    config: Config,
    once: bool,
    dry_run: bool,
    no_load: bool,
    allow_deletes: bool,
    listen: str | None,
) -> None:
    """Sync until stopped, or once.

    SIGTERM and SIGINT finish the requests in flight, save progress and end with exit code 0; a
    second signal ends at once with 130.  kill -9 is safe at any time.

    A run that ends by itself (--once, --dry-run) listens only if --listen is given.
    """
    require_documents(config)
    if listen is not None or once or dry_run:
        config = replace(config, status=StatusSettings(listen or ""))
    if config.sink is None and not dry_run:
        ui.message("the configuration has no [sink]: a dry run, nothing is written")
    choices = Choices(
        dry_run=dry_run, load=False if no_load else None, deletes_allowed=allow_deletes
    )
    with assemble(config, choices) as assembly:
        run_until_stopped(assembly, once or dry_run)
        if isinstance(assembly.sink, DiscardSink):
            ui.data(
                f"dry run: {assembly.sink.documents} documents, {assembly.sink.body_bytes} bytes"
            )
