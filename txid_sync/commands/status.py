"""`txid-sync status`: how far each document is, from stored progress and the source."""

from __future__ import annotations

import click

from txid_sync import ui
from txid_sync.commands.options import configured, option, require_documents
from txid_sync.overview import DocumentState, Overview, WorkerState, look
from txid_sync.settings import Config
from txid_sync.wiring import assemble


@click.command("status")
@option("--json", "as_json", envvar="TXID_SYNC_JSON", is_flag=True, help="Print JSON.")
@configured
def command(config: Config, as_json: bool) -> None:
    """Show how far each document is; exit code 3 or 4 if source or sink do not answer."""
    require_documents(config)
    with assemble(config) as assembly:
        overview = look(assembly)
    if as_json:
        ui.data_json(overview.as_json())
        return
    for line in _lines(overview):
        ui.data(line)


def _lines(overview: Overview) -> list[str]:
    head = [
        f"pipeline {overview.pipeline}: "
        + ("" if overview.started else "not started yet, ")
        + f"epoch {overview.epoch}, cursor {overview.cursor or 'none'}, "
        f"{overview.in_progress} transactions in progress, "
        f"at most {overview.lag_transactions} transactions behind, "
        f"{overview.dead_letters} dead letters"
    ]
    if overview.trouble:
        head.append(f"the next run resyncs: {overview.trouble}")
    if overview.verified:
        done = overview.verified
        head.append(
            f"verified {done.ended_at}: {done.divergence} differ, {done.repaired} were repaired, "
            f"{done.unsettled} not settled"
        )
    rows = [("document", "table", "phase"), *map(_row, overview.documents)]
    workers = [_WORKERS, *map(_worker, overview.workers)] if overview.workers else []
    return head + ui.columns(rows) + (ui.columns(workers) if workers else [])


_WORKERS = ("worker", "transactions behind", "epoch", "documents written", "phase", "cursor")


def _worker(state: WorkerState) -> tuple[str, ...]:
    return (
        state.worker, str(state.lag_transactions), str(state.epoch),
        str(state.acknowledged_documents), state.phases, state.cursor,
    )  # fmt: skip


def _row(state: DocumentState) -> tuple[str, ...]:
    return state.document, state.table, state.text
