"""Every error that txid-sync raises on purpose, and the exit code of each.

One tree: `TxidSyncError` carries a message (what is wrong and where), a hint (what to do) and an
exit code.  Code raises or returns; only the command line prints.  An error never holds a password
or the content of a row.

Three families matter to the pipeline:

* `Stop`        an operator has to act; going on would be wrong.
* `Unavailable` a server does not answer now; the daemon waits and comes back.
* `Discontinuity` the source or the sink is not the one that progress speaks of; answered by a
  resync (a new epoch, load and sweep).
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; documented in docs/exit-codes.md."""

    OK = 0
    NOT_EQUAL = 1
    USAGE = 2
    SOURCE_UNREACHABLE = 3
    SINK_UNREACHABLE = 4
    PRECONDITION = 5
    TAKEN_OVER = 6
    DELETE_BRAKE = 7
    WORKER_KILLED = 8
    BUG = 70
    SECOND_INTERRUPT = 130


class TxidSyncError(Exception):
    """Base of all: `message` says what and where, `hint` what to do (may be empty)."""

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class Stop(TxidSyncError):
    """An operator has to act before anything can go on."""


class UsageError(Stop):
    """Configuration or arguments are wrong."""

    exit_code = ExitCode.USAGE


class CursorFormatError(Stop):
    """A stored snapshot, cursor or progress cannot be read; nothing was guessed."""

    exit_code = ExitCode.PRECONDITION


class PreconditionError(Stop):
    """Something that must be there is not: schema, rights, version, table, key, triggers."""

    exit_code = ExitCode.PRECONDITION


class TakenOver(Stop):
    """Another instance saved progress of this pipeline; this one must not go on."""

    exit_code = ExitCode.TAKEN_OVER


class DeleteBrake(Stop):
    """A sweep would delete more than the allowed share of an index."""

    exit_code = ExitCode.DELETE_BRAKE


class WorkerEnded(Stop):
    """One of several workers has ended, so the others were stopped; with its exit code."""

    exit_code = ExitCode.WORKER_KILLED

    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint)
        if exit_code in set(ExitCode):
            self.exit_code = ExitCode(exit_code)


class Unavailable(TxidSyncError):
    """A server does not answer now; whatever was not acknowledged is read again later."""


class SourceUnavailable(Unavailable):
    """The source does not answer: lost connection, restart, starting up, no route."""

    exit_code = ExitCode.SOURCE_UNREACHABLE


class SourceBehind(SourceUnavailable):
    """A standby has not replayed again what was read before; it is waited for."""


class SinkUnavailable(Unavailable):
    """The sink does not answer, or refuses for now; what it has applied is not known."""

    exit_code = ExitCode.SINK_UNREACHABLE


class PageExpired(Unavailable):
    """A page grew older than the deadline before it was applied; it must be read again."""

    exit_code = ExitCode.SINK_UNREACHABLE


class Discontinuity(TxidSyncError):
    """Progress does not fit the source or the sink any more; answered by a resync.

    `document` names the one document that has to be written again; None means all of them, under
    a new epoch.  `minimum_epoch` is the least epoch that is safe afterwards (0: no demand).
    """

    exit_code = ExitCode.PRECONDITION

    def __init__(
        self, message: str, hint: str = "", document: str | None = None, minimum_epoch: int = 0
    ) -> None:
        super().__init__(message, hint)
        self.document = document
        self.minimum_epoch = minimum_epoch
