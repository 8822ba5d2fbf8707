"""What throw-away servers have in common: they are started, killed, and leave nothing behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from txid_sync.dev.processes import ServerError, ServerProcess, log_tail


class Closing(ABC):
    """A context manager that closes itself in the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go of everything."""


class Server(Closing):
    """A server in a folder of its own; as a context manager it starts at entry."""

    log: Path
    _process: ServerProcess | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    @abstractmethod
    def start(self) -> None:
        """Start, and wait until it can be used; raises ServerError."""

    @property
    def pid(self) -> int:
        """That of the server's first process; raises ServerError when it does not run."""
        return self._running_process().pid

    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.running()

    def kill9(self) -> None:
        """SIGKILL the server with all its processes; `start()` then recovers."""
        self._running_process().kill9()
        self._process = None

    def _running_process(self) -> ServerProcess:
        if self._process is None or not self._process.running():
            raise ServerError("the server does not run", log_tail(self.log))
        return self._process
