"""Helpers that every kind of test may use."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg2
from psycopg2.extensions import connection

T = TypeVar("T")


def eventually(
    predicate: Callable[[], T], timeout_seconds: float = 10.0, interval_seconds: float = 0.02
) -> T:
    """Ask until the answer is true, and give it; raises AssertionError with the last answer.

    An AssertionError inside the predicate counts as "not yet".
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        failure: AssertionError | None = None
        answer: object = None
        try:
            found = predicate()
        except AssertionError as error:
            failure = error
        else:
            if found:
                return found
            answer = found
        if time.monotonic() > deadline:
            message = f"not so within {timeout_seconds:g} s; the last answer was {answer!r}"
            raise AssertionError(message) from failure
        time.sleep(interval_seconds)


@dataclass(frozen=True, slots=True)
class Database:
    """An empty database of one test's own; its connections are closed after the test."""

    name: str
    dsn: str
    _opened: list[connection] = field(default_factory=list)

    def connect(self, autocommit: bool = True) -> connection:
        """A new connection as superuser."""
        opened = psycopg2.connect(self.dsn, connect_timeout=10)
        opened.autocommit = autocommit
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        """Close every connection that `connect` gave."""
        while self._opened:
            self._opened.pop().close()
