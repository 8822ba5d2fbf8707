"""One server process: started under a supervisor, signalled, waited for, never left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from txid_sync.errors import PreconditionError

SUPERVISOR = Path(__file__).with_name("supervisor.py")
LOG_TAIL_LINES = 25
OUTPUT_TAIL_CHARS = 2000


class ServerError(PreconditionError):
    """A throw-away server, or something that it needs, could not be made ready."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `user` is a name (None: as we are); `orphan_signal` ends it if we die."""

    argv: Sequence[str]
    folder: Path
    log: Path
    orphan_signal: signal.Signals
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    group: int | None = None

    def order(self) -> str:
        """The supervisor's argument."""
        return json.dumps(
            {
                "parent": os.getpid(),
                "argv": list(self.argv),
                "folder": str(self.folder),
                "cwd": str(self.folder),
                "environment": {**clean_environment(), **self.environment},
                "orphan_signal": int(self.orphan_signal),
                "user": self.user,
                "group": self.group,
            }
        )


class ServerProcess:
    """A running server. `pid` is the server's own, not the supervisor's."""

    def __init__(self, command: Command) -> None:
        self._command = command
        with command.log.open("ab") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), command.order()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._supervisor.stdout is not None
        with self._supervisor.stdout as stream:
            line = stream.readline()
        if not line:
            self._supervisor.wait()
            raise ServerError(f"cannot run {command.argv[0]}", log_tail(command.log))
        self.pid = int(line)

    def running(self) -> bool:
        """Whether the server is alive."""
        return self._supervisor.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Signal the server, if it is still there."""
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout_seconds: float) -> bool:
        """True when the server has ended within the time."""
        try:
            self._supervisor.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, number: signal.Signals, timeout_seconds: float) -> None:
        """Signal and wait; a server that does not obey in time is killed, and that is an error."""
        self.send(number)
        if not self.wait(timeout_seconds):
            self.kill9()
            message = f"{self._command.argv[0]} did not stop in {timeout_seconds:g} s; killed"
            raise ServerError(message, log_tail(self._command.log))

    def kill9(self) -> None:
        """SIGKILL the server and its children at once, as a loss of power does."""
        self.send(signal.SIGSTOP)  # no new child between the listing and the kill
        family = [*children(self.pid), self.pid] if self.running() else []
        for pid in reversed(family):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._supervisor.wait()
        wait_until_gone(family)


def finish(argv: Sequence[str], failure: str, folder: Path | None = None) -> None:
    """Run a program to its end; raises ServerError with the end of what it said if it failed."""
    done = subprocess.run(
        argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise ServerError(failure, done.stdout[-OUTPUT_TAIL_CHARS:])


def clean_environment() -> dict[str, str]:
    """Ours without what libpq, Java or a proxy setting of the caller would change in a server."""
    unwanted = ("PG", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "LD_", "LC_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**kept, "LC_ALL": "C.UTF-8"}


def children(parent: int) -> list[int]:
    """Pids of the direct children, from /proc."""
    return [pid for pid in all_pids() if stat_fields(pid)[1:2] == [str(parent)]]


def all_pids() -> list[int]:
    """Every pid that /proc shows."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def stat_fields(pid: int) -> list[str]:
    """/proc/PID/stat from the state on (state, ppid, ...); empty when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    return stat_fields(pid)[:1] not in ([], ["Z"], ["X"])


def wait_until_gone(pids: Sequence[int], timeout_seconds: float = 10.0) -> None:
    """Wait for killed processes; raises ServerError if one stays."""
    deadline = time.monotonic() + timeout_seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            raise ServerError(f"killed processes are still there: {list(filter(alive, pids))}")
        time.sleep(0.005)


def log_tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a server's log, for an error message."""
    if not log.exists():
        return f"no log at {log}"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
