"""Runs a program again whenever it ends, as `while true; do ...; done` does, and may kill it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SHORTEST_REST_SECONDS = 0.2
PATIENCE_SECONDS = 60.0


class Supervised:
    """A program kept running from construction until `stop`.

    `exit_codes` are those it ended with, `killed_at_stop` whether it did not obey SIGTERM in time.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path | None = None
    ) -> None:
        self._command, self._environment = list(command), dict(environment)
        self._log = log
        self.crashes = 0
        self.killed_at_stop = False
        self.exit_codes: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The program's, or that of the last one; 0 before the first."""
        with self._lock:
            return self._process.pid if self._process is not None else 0

    def kill9(self) -> None:
        """SIGKILL the program, if it runs now."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()

    def signal(self, number: signal.Signals, pid: int | None = None) -> None:
        """Send any other signal to the program, if it runs now (and still is this process)."""
        with self._lock:
            process = self._process
            if process and process.poll() is None and pid in (None, process.pid):
                process.send_signal(number)

    def stop(self) -> None:
        """Let it run no more; it is asked to end by SIGTERM first, and waited for."""
        self._stopping.set()
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self._thread.join(timeout=PATIENCE_SECONDS)
        self.killed_at_stop = self._thread.is_alive()
        self.kill9()
        self._thread.join()

    def _loop(self) -> None:
        with (self._log or Path(os.devnull)).open("ab") as log:
            while not self._stopping.is_set():
                with self._lock:
                    if self._stopping.is_set():
                        break  # the signal of `stop` has found no program
                    began = time.monotonic()
                    self._process = subprocess.Popen(
                        self._command, env=self._environment, stdout=log, stderr=log
                    )
                code = self._process.wait()
                self.exit_codes.append(code)
                if code == -signal.SIGKILL:
                    self.crashes += 1
                rest = SHORTEST_REST_SECONDS - (time.monotonic() - began)
                self._stopping.wait(max(0.0, rest))
