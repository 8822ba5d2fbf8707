"""`txid-sync run`: sync until stopped, or once."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import click

from txid_sync import logs, ui
from txid_sync.address import address_of
from txid_sync.commands.options import configured, option, require_documents
from txid_sync.errors import UsageError
from txid_sync.runner import run_until_stopped
from txid_sync.settings import Config, StatusSettings
from txid_sync.share import MAX_WORKERS, WHOLE, Share
from txid_sync.sinks.discard import DiscardSink
from txid_sync.wiring import Choices, assemble
from txid_sync.workers import LEASHED, WORKER, end_with_parent, run_workers


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
    "--worker", envvar=WORKER, metavar="NUMBER/OF",
    help="Be one of several workers that share the keys: 2/4 is the second of four.",
)
@option(
    "--workers", envvar="TXID_SYNC_WORKERS", type=click.IntRange(1, MAX_WORKERS), metavar="N",
    help="Run N workers, each a process of its own.",
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
    worker: str | None,
    workers: int | None,
    listen: str | None,
) -> None:
    """Sync until stopped, or once.

    SIGTERM and SIGINT finish the requests in flight, save progress and end with exit code 0; a
    second signal ends at once with 130.  kill -9 is safe at any time.

    Workers split the keys by a hash, each with progress of its own.  Their number can be changed
    at any time: those of the new number go on where the old ones are, which end with exit code 6.
    Worker N listens N - 1 ports higher.  A run that ends by itself (--once, --dry-run) listens only
    if --listen is given.
    """
    require_documents(config)
    leashed = os.environ.get(LEASHED) == "1"
    if worker and workers and not leashed:
        raise UsageError("--worker and --workers are both given", "keep one of them")
    if workers and workers > 1 and not leashed:
        run_workers(sys.argv[1:], workers, once or dry_run)
        return
    share = Share.parse(worker) if worker else WHOLE
    if not share.whole:
        logs.name_worker(str(share))
    if leashed:
        end_with_parent()
    config = _listening(config, listen, once or dry_run, share)
    if config.sink is None and not dry_run:
        ui.message("the configuration has no [sink]: a dry run, nothing is written")
    choices = Choices(
        dry_run=dry_run, load=False if no_load else None, deletes_allowed=allow_deletes,
        share=share,
    )  # fmt: skip
    with assemble(config, choices) as assembly:
        run_until_stopped(assembly, once or dry_run, verifies=share.number == 1, live=not leashed)
        if isinstance(assembly.sink, DiscardSink):
            counts = f"{assembly.sink.documents} documents, {assembly.sink.body_bytes} bytes"
            ui.data(f"dry run{_of(share)}: {counts}")


def _of(share: Share) -> str:
    return "" if share.whole else f" of worker {share}"


def _listening(config: Config, listen: str | None, ends: bool, share: Share) -> Config:
    """The configuration of this run, or of one of its workers, as to where it listens."""
    text = listen or "" if listen is not None or ends else config.status.listen
    address = address_of(text)
    if address is not None and address[1] and not share.whole:
        text = f"[{address[0]}]:{address[1] + share.number - 1}"
    return replace(config, status=StatusSettings(text))
