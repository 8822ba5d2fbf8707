"""`check`: all that a run needs, point by point; it changes nothing and goes on after failures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from txid_sync.errors import ExitCode, SinkUnavailable, SourceUnavailable, TxidSyncError
from txid_sync.ui import one_line


class State(StrEnum):
    """How a point came out."""

    OK = "OK"
    WARNING = "WARNING"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that was looked at; `fix` is the command or the deed that mends it."""

    name: str
    state: State
    detail: str
    fix: str = ""
    exit_code: ExitCode = ExitCode.OK

    @property
    def line(self) -> str:
        """The point as one line."""
        fix = f" ({one_line(self.fix)})" if self.fix else ""
        return f"{self.name}: {self.state} {one_line(self.detail)}{fix}"

    def as_json(self) -> dict[str, str]:
        """The point for programs."""
        return {"name": self.name, "state": self.state, "detail": self.detail, "fix": self.fix}


def ok(name: str, detail: str) -> Point:
    """All is well."""
    return Point(name, State.OK, detail)


def warning(name: str, detail: str, fix: str = "") -> Point:
    """A run is possible; somebody should look."""
    return Point(name, State.WARNING, detail, fix)


def failed(name: str, detail: str, fix: str = "") -> Point:
    """A run is not possible, or would be wrong."""
    return Point(name, State.FAILED, detail, fix, ExitCode.NOT_EQUAL)


def judge(name: str, good: bool, detail: str, otherwise: str, fix: str) -> Point:
    """OK with a detail, or FAILED with another one and a fix."""
    return ok(name, detail) if good else failed(name, otherwise, fix)


def broken(name: str, error: TxidSyncError) -> Point:
    """The point that an error ended; an unreachable server has its own exit code."""
    away = isinstance(error, SourceUnavailable | SinkUnavailable)
    code = error.exit_code if away else ExitCode.NOT_EQUAL
    return Point(name, State.FAILED, error.message, error.hint, code)


def guarded(name: str, points: Iterator[Point]) -> Iterator[Point]:
    """These points; an error in between becomes the last one."""
    try:
        yield from points
    except TxidSyncError as error:
        yield broken(name, error)


def exit_code(points: list[Point]) -> ExitCode:
    """3 or 4 if a server was away, else 1 if any point failed, else 0."""
    codes = {point.exit_code for point in points}
    order = (ExitCode.SOURCE_UNREACHABLE, ExitCode.SINK_UNREACHABLE, ExitCode.NOT_EQUAL)
    return next((code for code in order if code in codes), ExitCode.OK)
