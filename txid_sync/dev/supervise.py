"""Runs a program again whenever it ends, as `while true; do ...; done` does, and may kill it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SHORTEST_REST_SECONDS = 0.2


class Supervised:
    """A program kept running from construction until `stop`."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path | None = None
    ) -> None:
        self._command, self._environment = list(command), dict(environment)
        self._log = log
        self.crashes = 0
        self.exit_codes: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def kill9(self) -> None:
        """SIGKILL the program, if it runs now."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()

    def signal(self, number: signal.Signals) -> None:
        """Send any other signal to the program, if it runs now."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(number)

    def stop(self) -> None:
        """Let it run no more; it is asked to end by SIGTERM first, and waited for."""
        self._stopping.set()
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self._thread.join(timeout=60)
        self.kill9()
        self._thread.join()

    def _loop(self) -> None:
        with (self._log or Path(os.devnull)).open("ab") as log:
            while not self._stopping.is_set():
                began = time.monotonic()
                with self._lock:
                    self._process = subprocess.Popen(
                        self._command, env=self._environment, stdout=log, stderr=log
                    )
                code = self._process.wait()
                self.exit_codes.append(code)
                if code == -signal.SIGKILL:
                    self.crashes += 1
                rest = SHORTEST_REST_SECONDS - (time.monotonic() - began)
                with contextlib.suppress(ValueError):
                    self._stopping.wait(max(0.0, rest))
