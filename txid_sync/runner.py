"""Runs a daemon in the foreground: signals, status lines, and the way out.

The daemon works in a thread of its own, so that a signal is answered at once even while a
statement or a connection attempt blocks.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from types import FrameType

from txid_sync import ui
from txid_sync.errors import ExitCode, Unavailable
from txid_sync.pipeline import PipelineStatus
from txid_sync.status_server import serving
from txid_sync.verifying import beside
from txid_sync.wiring import Assembly

log = logging.getLogger("txid_sync")

_LIVE_SECONDS, _PLAIN_SECONDS = 0.5, 60.0


def run_until_stopped(
    assembly: Assembly, once: bool, verifies: bool = True, live: bool = True
) -> None:
    """Run the pipeline until a signal comes, or once; raises what the daemon raises.

    SIGTERM and SIGINT let the requests in flight finish and save progress; a second one ends the
    process at once with exit code 130.  `verifies`: as the configuration says, beside the pipeline;
    `live`: with a line that changes in place, if there is a terminal.
    """
    stop = threading.Event()
    daemon = assembly.daemon(stop, _log_status)
    verified = nullcontext() if once or not verifies else beside(assembly.config, assembly.pipeline)
    served = serving(assembly.config.status.listen, daemon.report)
    with _signals(stop), served, verified, ui.LiveLine() as line:
        running = _in_thread(lambda: daemon.run(once))
        shown = live and line.shown
        while not wait([running], _LIVE_SECONDS if shown else _PLAIN_SECONDS).done:
            if shown and (status := _status_of(assembly)):
                line.show(status_text(status))
    try:
        running.result()
    except Unavailable:
        if not stop.is_set():
            raise
    if (status := _status_of(assembly)) is not None:
        _log_status(status)


def status_text(status: PipelineStatus) -> str:
    """A status as one line."""
    tasks = [f"{t.document} ({t.text})" for t in status.tasks if t.phase == status.phase]
    of = f" of {', '.join(tasks)}" if tasks else ""
    known = status.lag_known
    behind = f"{status.lag_transactions} transactions behind" if known else "lag not known yet"
    return (
        f"{status.phase}{of}: {status.acknowledged_documents} documents written in all, "
        f"{status.in_flight} pages in flight, {behind}, "
        f"clock {status.clock}, complete {status.complete_clock}, epoch {status.epoch}, "
        f"{status.dead_letters} dead letters{_divergence(status)}"
    )


def _divergence(status: PipelineStatus) -> str:
    return "" if status.divergence is None else f", {status.divergence} found to differ"


def _log_status(status: PipelineStatus) -> None:
    log.info("%s", status_text(status), extra={"action": "status", **asdict(status)})


def _status_of(assembly: Assembly) -> PipelineStatus | None:
    """The status now; None before progress is loaded."""
    return assembly.pipeline.status() if assembly.pipeline.started else None


def _in_thread(work: Callable[[], None]) -> Future[None]:
    future: Future[None] = Future()

    def target() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  handed to the thread that waits
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=target, name="txid-sync", daemon=True).start()
    return future


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if stop.is_set():
            os._exit(ExitCode.SECOND_INTERRUPT)
        stop.set()
        ui.message(
            f"{signal.Signals(number).name}: finishing what is in flight; again to end at once"
        )

    numbers = (signal.SIGTERM, signal.SIGINT)
    former = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
