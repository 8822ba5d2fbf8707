"""A throw-away Redis, which PGSync keeps its queue in."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time

from txid_sync.dev.folders import RunFolder
from txid_sync.dev.ports import free_port
from txid_sync.dev.processes import Command, ServerError, ServerProcess, log_tail
from txid_sync.dev.server import Server

START_SECONDS = 30.0


class Redis(Server):
    """The system's redis-server on a port and in a folder of its own, with its log of writes on."""

    def __init__(self) -> None:
        found = shutil.which("redis-server")
        if found is None:
            raise ServerError("redis-server is missing", "install it: apt-get install redis-server")
        self.program = found
        self.port = 0
        self._run_folder = RunFolder("redis")
        self.log = self._run_folder.path / "server.log"

    def start(self) -> None:
        """Start, or start again on the same port with the same data."""
        self.port = self.port or free_port()
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        command = Command(
            argv=[self.program, "--port", str(self.port), *options],
            folder=self._run_folder.path, log=self.log, orphan_signal=signal.SIGKILL,
        )  # fmt: skip
        self._process = ServerProcess(command)
        limit = time.monotonic() + START_SECONDS
        while b"PONG" not in self._ask(b"PING"):
            if not self._process.running() or time.monotonic() > limit:
                raise ServerError("Redis did not start", log_tail(self.log))
            time.sleep(0.02)

    def close(self) -> None:
        """End it and remove its folder."""
        with contextlib.suppress(ServerError):
            self.kill9()
        self._run_folder.remove()

    def empty(self) -> None:
        """Remove all that it holds."""
        self._ask(b"FLUSHALL")

    def version(self) -> str:
        """Like 7.0.15."""
        command = [self.program, "--version"]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        return said.stdout.partition("v=")[2].split()[0]

    def _ask(self, command: bytes) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as wire:
                wire.sendall(command + b"\r\n")
                return wire.recv(100)
        except OSError:
            return b""
