"""`txid-sync resync`: write documents again from the first row on."""

from __future__ import annotations

import click

from txid_sync import ui
from txid_sync.commands.options import configured, require_documents
from txid_sync.config_place import Place
from txid_sync.settings import Config
from txid_sync.share import WHOLE, Share
from txid_sync.shares import stored_shares
from txid_sync.wiring import Choices, assemble, close_store, make_store


@click.command("resync")
@click.argument("documents", nargs=-1, metavar="[DOCUMENT]...")
@configured
def command(config: Config, documents: tuple[str, ...]) -> None:
    """Note that documents (all, or the named indices) have to be written again.

    The next run does it: load, then sweep, under a new epoch, beside the stream; of several
    workers each does its share.  A run that is under way ends with exit code 6, so that its
    supervisor starts it again.
    """
    require_documents(config)
    known = [document.name for document in config.documents]
    Place("resync").refuse_unknown(documents, known, "document")
    for share in _shares(config):
        with assemble(config, Choices(may_resync=True, share=share)) as assembly:
            assembly.pipeline.start()
            assembly.pipeline.resync("asked for by the operator", documents)
            assembly.pipeline.stop()
    ui.message(f"resync of {', '.join(documents or known)}: done by the next run")


def _shares(config: Config) -> tuple[Share, ...]:
    """The shares of the workers that there are now."""
    store = make_store(config.sink)
    try:
        return tuple(stored_shares(store, config.pipeline.name)) or (WHOLE,)
    finally:
        close_store(store)
