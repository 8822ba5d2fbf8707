"""`txid-sync prune`: delete log rows that nobody wants any more, once."""

from __future__ import annotations

import contextlib

import click

from txid_sync import schema, ui
from txid_sync.commands.options import configured, option, require_documents
from txid_sync.database import connect
from txid_sync.errors import SinkUnavailable
from txid_sync.keeper import PRUNE_BATCH, reader_of
from txid_sync.progress.base import Progress
from txid_sync.settings import Config
from txid_sync.wiring import Assembly, assemble


@click.command("prune")
@option(
    "--forget", envvar="TXID_SYNC_FORGET", is_flag=True,
    help="First forget what this pipeline wants, for it will not run again.",
)
@configured
def command(config: Config, forget: bool) -> None:
    """Delete rows of the change logs that no pipeline wants any more; for cron, or by hand.

    A run does this by itself.  Where none runs for days, this keeps the logs small: a pipeline
    that stays behind for longer than the retention (docs/capture.md) is waited for no longer.
    Prints one line per table: how many rows were deleted.
    """
    require_documents(config)
    with assemble(config) as assembly:
        assembly.source.connect()
        progress = _stored(assembly)
        if forget:
            _forget(config, progress)
            progress = None
        for document in config.documents:
            deleted = _prune(assembly, document.name, progress)
            ui.data(f"{document.table}: {deleted} log rows deleted")


def _stored(assembly: Assembly) -> Progress | None:
    """The pipeline's progress, if it is there and of this source."""
    try:
        stored = assembly.store.load(assembly.config.pipeline.name)
    except SinkUnavailable as error:
        ui.message(f"{error.message}: what this pipeline wants stays as it was noted before")
        return None
    if stored is None or dict(stored[0].identity) != dict(assembly.source.identity()):
        return None
    return stored[0]


def _prune(assembly: Assembly, document: str, progress: Progress | None) -> int:
    reader, wanted = "", None
    if progress is not None and document in progress.documents:
        uuid = progress.documents[document].index_uuid
        reader = reader_of(assembly.config.pipeline.name, uuid)
        wanted = progress.cursor.done.lowest_open
    total = 0
    while deleted := assembly.source.prune(document, reader, wanted, PRUNE_BATCH):
        total += deleted
    return total


def _forget(config: Config, progress: Progress | None) -> None:
    entries = progress.documents.values() if progress is not None else ()
    with contextlib.closing(connect(config.source.dsn)) as connection:
        logs = sum(
            schema.unregister(connection, reader_of(config.pipeline.name, entry.index_uuid))
            for entry in entries
        )
    ui.message(f"pipeline {config.pipeline.name} wants nothing of {logs} logs any more")
