"""Several workers as processes of one parent, which passes signals on and ends with one exit code.

Each child runs the very command line of its parent, told by its environment which worker it is.
Children are in process groups of their own (a Ctrl-C reaches them through the parent alone), and
end when their standard input does: when the parent has died, however it did.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from txid_sync import ui
from txid_sync.errors import WorkerEnded
from txid_sync.share import Share

WATCH_SECONDS = 0.05
WORKER, LEASHED = "TXID_SYNC_WORKER", "TXID_SYNC_LEASHED"

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Child = subprocess.Popen[bytes]


def run_workers(arguments: Sequence[str], of: int, once: bool) -> None:
    """Run so many workers until they end; when one ends before it should, the others are stopped.

    Raises WorkerEnded with the first exit code that is not 0.
    """
    command = [sys.executable, "-m", "txid_sync", *arguments]
    children: dict[Share, Child] = {}
    asked = threading.Event()  # whether they have been told to stop
    failure: WorkerEnded | None = None
    with _signals_passed_on(children, asked):
        try:
            for share in Share.all(of):
                children[share] = _started(command, share, os.environ)
                if asked.is_set():  # perhaps before this one was there to be told
                    children[share].terminate()
                    break
            for share, code in _ends(children):
                early = not once and not asked.is_set()
                obeyed = asked.is_set() and -code in _SIGNALS  # it had not even begun
                if code and not obeyed and failure is None:
                    failure = _ended(share, code)
                if (code or early) and not asked.is_set():
                    ui.message(f"worker {share} has ended: stopping the others")
                    _tell(children, asked)
        finally:
            for child in children.values():
                child.kill()
                child.wait()
    if failure is not None:
        raise failure


def end_with_parent() -> None:
    """Be told to stop when standard input ends."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="txid-sync-leash", daemon=True).start()


def _started(command: Sequence[str], share: Share, environment: Mapping[str, str]) -> Child:
    own = {**environment, WORKER: str(share), LEASHED: "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=own, process_group=0)


def _ends(children: Mapping[Share, Child]) -> Iterator[tuple[Share, int]]:
    """Every worker that has ended, with its exit code (of a signal: below 0), until all have."""
    waiting = dict(children)
    while waiting:
        for share, child in list(waiting.items()):
            code = child.poll()
            if code is not None:
                del waiting[share]
                yield share, code
        time.sleep(WATCH_SECONDS)


def _ended(share: Share, code: int) -> WorkerEnded:
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return WorkerEnded(
        f"worker {share} has ended {how}, so all were stopped",
        "see what it has said above, then start again: nothing is lost",
        code,
    )


def _tell(children: Mapping[Share, Child], asked: threading.Event) -> None:
    """SIGTERM in any case: one that has not begun ends by it, and with no code of its own."""
    asked.set()
    for child in children.values():
        if child.poll() is None:
            child.terminate()


@contextmanager
def _signals_passed_on(children: Mapping[Share, Child], asked: threading.Event) -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        _tell(children, asked)

    former = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
