"""`txid-sync uninstall`: remove what init has installed, and the progress."""

from __future__ import annotations

import contextlib
import os
import sys

import click

from txid_sync import failpoints, schema, ui
from txid_sync.commands.options import configured, option
from txid_sync.database import connect
from txid_sync.errors import UsageError
from txid_sync.settings import Config
from txid_sync.shares import remove
from txid_sync.wiring import close_store, make_store


@click.command("uninstall")
@option("--yes", envvar="TXID_SYNC_YES", is_flag=True, help="Do not ask.")
@configured
def command(config: Config, yes: bool) -> None:
    """Remove everything that init has installed, and the progress of the pipeline.

    That is: the schema txid_sync with all its logs, and its triggers, for every pipeline of this
    database.  Tables and indices stay as they are.
    """
    if not yes and not sys.stdin.isatty():
        raise UsageError("uninstall was not confirmed", "add --yes")
    if not yes:
        click.confirm("Remove the schema txid_sync and all change logs?", abort=True, err=True)
    failpoint = failpoints.of_process(os.environ)
    with contextlib.closing(connect(config.source.dsn)) as connection:
        schema.uninstall(connection)
    failpoint("schema-removed")
    ui.message("the schema txid_sync and its triggers are removed")
    store = make_store(config.sink)
    try:
        remove(store, config.pipeline.name)
    finally:
        close_store(store)
    kept = ", ".join(document.index for document in config.documents)
    ui.message(f"progress is removed; the indices stay: {kept or 'none configured'}")
