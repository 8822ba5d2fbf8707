"""Ends a connection whose server does not answer: a half-open one would be waited for for ever.

The server's statement_timeout is of no help when its answer, or our question, gets lost on the way,
and TCP does not notice while something in between still acknowledges bytes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

CHECK_SECONDS = 5.0


class Watchdog:
    """Watches one connection, by its file descriptor, from construction until `close`."""

    def __init__(self, descriptor: int, limit_seconds: float) -> None:
        self._descriptor, self._limit_seconds = descriptor, limit_seconds
        self._lock = threading.Lock()
        self._due_seconds = 0.0
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="txid-sync-watchdog", daemon=True).start()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """One statement: the connection is cut if it takes longer than the limit."""
        with self._lock:
            self._due_seconds = time.monotonic() + self._limit_seconds
        try:
            yield
        finally:
            with self._lock:
                self._due_seconds = 0.0

    def close(self) -> None:
        """Watch no more; called before the connection is closed."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(min(CHECK_SECONDS, self._limit_seconds)):
            with self._lock:
                if 0.0 < self._due_seconds < time.monotonic():
                    self._cut()
                    return

    def _cut(self) -> None:
        """Under the lock, so while a statement runs: the descriptor is that of the connection."""
        with (
            contextlib.suppress(OSError),
            socket.socket(fileno=os.dup(self._descriptor)) as wire,
        ):
            wire.shutdown(socket.SHUT_RDWR)
