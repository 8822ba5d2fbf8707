"""`txid-sync config`: look at the configuration."""

from __future__ import annotations

import click

from txid_sync import ui
from txid_sync.commands.options import configured, option
from txid_sync.config import document_values, shown
from txid_sync.settings import Config


@click.group("config")
def command() -> None:
    """Look at the configuration."""


@command.command("show")
@option("--json", "as_json", envvar="TXID_SYNC_JSON", is_flag=True, help="Print JSON.")
@configured
def show(config: Config, as_json: bool) -> None:
    """Print every effective setting and where it came from, without secrets."""
    rows = shown(config)
    documents = [document_values(document) for document in config.documents]
    if as_json:
        settings = [
            {"key": key, "value": value, "origin": origin} for key, value, origin in rows
        ]
        ui.data_json({"settings": settings, "documents": documents})
        return
    for line in ui.columns([("setting", "value", "origin"), *rows]):
        ui.data(line)
    if config.sink is None:
        ui.data("sink: none (dry run)")
    for values in documents:
        ui.data("document " + " ".join(f"{key}={value!r}" for key, value in values.items()))
