"""`txid-sync prune`: delete log rows that nobody wants any more, once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import click

from txid_sync import schema, ui
from txid_sync.commands.options import configured, option, require_documents
from txid_sync.database import connect
from txid_sync.errors import SinkUnavailable
from txid_sync.progress.base import Progress
from txid_sync.settings import Config
from txid_sync.share import Share
from txid_sync.shares import stored_shares
from txid_sync.upkeep import PRUNE_BATCH, reader_of
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
        shares = _stored(assembly)
        if forget:
            _forget(config, shares)
            shares = {}
        for document in config.documents:
            deleted = _prune(assembly, document.name, shares)
            ui.data(f"{document.table}: {deleted} log rows deleted")


def _stored(assembly: Assembly) -> dict[Share, Progress]:
    """The progress of every worker of the pipeline that is of this source."""
    try:
        shares = stored_shares(assembly.store, assembly.config.pipeline.name)
    except SinkUnavailable as error:
        ui.message(f"{error.message}: what this pipeline wants stays as it was noted before")
        return {}
    identity = dict(assembly.source.identity())
    return {share: found for share, found in shares.items() if dict(found.identity) == identity}


def _prune(assembly: Assembly, document: str, shares: Mapping[Share, Progress]) -> int:
    name = assembly.config.pipeline.name
    readers: list[tuple[str, int | None]] = [
        (reader_of(share.entry(name), p.documents[document].index_uuid), p.cursor.done.lowest_open)
        for share, p in shares.items() if document in p.documents
    ]  # fmt: skip
    total = 0
    for reader, wanted in readers or [("", None)]:
        while deleted := assembly.source.prune(document, reader, wanted, PRUNE_BATCH):
            total += deleted
    return total


def _forget(config: Config, shares: Mapping[Share, Progress]) -> None:
    readers = [
        reader_of(share.entry(config.pipeline.name), entry.index_uuid)
        for share, progress in shares.items() for entry in progress.documents.values()
    ]  # fmt: skip
    with contextlib.closing(connect(config.source.dsn)) as connection:
        logs = sum(schema.unregister(connection, reader) for reader in readers)
    ui.message(f"pipeline {config.pipeline.name} wants nothing of {logs} logs any more")
