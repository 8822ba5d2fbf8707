"""`txid-sync verify`: compare rows and documents while both change, and mend what differs."""

from __future__ import annotations

import threading
from dataclasses import asdict

import click

from txid_sync import ui
from txid_sync.commands.options import configured, option, require_documents
from txid_sync.config_place import Place
from txid_sync.errors import ExitCode, UsageError
from txid_sync.settings import Config
from txid_sync.verifier import Verifier
from txid_sync.verify_state import KINDS, Findings, Pass
from txid_sync.verifying import opened, options_of, run_pass

_TITLES = {
    "missing": "missing in the index",
    "stale": "stale, other content than the row",
    "ghosts": "ghosts, in the index only",
    "dead": "dead letters",
    "unsettled": "not settled, written to or not yet read by the pipeline",
}


@click.command("verify")
@click.argument("documents", nargs=-1, metavar="[DOCUMENT]...")
@option("--repair", envvar="TXID_SYNC_REPAIR", is_flag=True, help="Mend what differs, only that.")
@option(
    "--rate", envvar="TXID_SYNC_RATE", type=click.FloatRange(min=0), default=0.0, metavar="N",
    help="Compare at most N documents per second.  [default: no limit]",
)
@option(
    "--wait", "patience", envvar="TXID_SYNC_WAIT", type=click.FloatRange(min=0), default=60.0,
    metavar="SECONDS", show_default=True,
    help="How long to wait for a load or sweep that does not move.",
)
@option(
    "--settle", "settle_seconds", envvar="TXID_SYNC_SETTLE", type=click.FloatRange(min=0),
    default=30.0, metavar="SECONDS", show_default=True,
    help="How long to look again at a key that is being written to.",
)
@option(
    "--restart", envvar="TXID_SYNC_RESTART", is_flag=True,
    help="Begin anew, even if an earlier verification was broken off.",
)
@option("--json", "as_json", envvar="TXID_SYNC_JSON", is_flag=True, help="Print JSON.")
@configured
def command(
    config: Config,
    documents: tuple[str, ...],
    repair: bool,
    rate: float,
    patience: float,
    settle_seconds: float,
    restart: bool,
    as_json: bool,
) -> None:
    """Compare rows with documents (all, or the named indices) by content, while both change.

    Only what stays different although the pipeline has written every change of it counts: there
    are no false alarms.  Ends with exit code 1 if something differs and was not repaired.  When it
    is killed, the next verify goes on from there.
    """
    require_documents(config)
    if config.sink is None or config.sink.type == "discard":
        raise UsageError("there is nothing to verify", "the configuration needs a [sink]")
    known = [document.name for document in config.documents]
    Place("verify").refuse_unknown(documents, known, "document")
    chosen = [d for d in config.documents if not documents or d.name in documents]
    options = options_of(config, rate, repair, settle_seconds)
    with opened(config, chosen, options) as verifier:
        if verifier.begin(restart):
            ui.message("going on with the verification that was broken off")
        with ui.LiveLine() as line:
            run_pass(
                verifier, threading.Event(), patience, on_step=lambda: _show(line, verifier)
            )
        result = verifier.pass_
    if as_json:
        ui.data_json(as_value(result))
    else:
        _print(result)
    click.get_current_context().exit(ExitCode.NOT_EQUAL if result.left else ExitCode.OK)


def as_value(result: Pass) -> dict[str, object]:
    """A pass as plain values; names may be added later, none is taken away."""
    return {
        "equal": result.left == 0,
        "unsettled": result.unsettled,
        "documents": [
            {**asdict(found), "equal": found.left == 0} for found in result.findings.values()
        ],
    }


def _show(line: ui.LiveLine, verifier: Verifier) -> None:
    current = verifier.pass_
    if line.shown and current.document is not None:
        found = current.found
        waits = f", waiting: {verifier.hindrance}" if verifier.hindrance else ""
        line.show(
            f"{found.document}: {found.rows:,} rows and {found.documents:,} documents compared, "
            f"{found.differences:,} differ{waits}"
        )


def _print(result: Pass) -> None:
    head = ("document", "rows", "documents", *KINDS, "repaired", "")
    lines = [head, *(_line(found) for found in result.findings.values())]
    for line in ui.columns(lines):
        ui.data(line)
    for found in result.findings.values():
        for kind in KINDS:
            _print_first(found, kind)
    if result.unsettled:
        ui.message(
            f"{result.unsettled} could not be settled: they are written to all the time, or the "
            "pipeline has not read their changes yet (is it running?)"
        )
    ui.message("NOT EQUAL" if result.left else "no difference")


def _line(found: Findings) -> tuple[str, ...]:
    counts = [f"{getattr(found, kind):,}" for kind in KINDS]
    verdict = "NOT EQUAL" if found.left else "equal"
    return (
        found.document, f"{found.rows:,}", f"{found.documents:,}", *counts,
        f"{found.repaired:,}", verdict,
    )  # fmt: skip


def _print_first(found: Findings, kind: str) -> None:
    count, first = getattr(found, kind), found.first.get(kind, [])
    if count:
        ui.data(f"{found.document}: {_TITLES[kind]} ({count:,}):")
        for id in first:
            ui.data(f"  {id!r}")
        if count > len(first):
            ui.data(f"  ... and {count - len(first):,} more")
