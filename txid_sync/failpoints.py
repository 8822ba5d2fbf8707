"""Named places at which the process can be made to die, to prove that it may.

`TXID_SYNC_FAILPOINT=sent:3` kills the process (SIGKILL, so nothing is tidied up) when the pipeline
passes the place `sent` for the third time.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable

from txid_sync.errors import UsageError

ENVIRONMENT = "TXID_SYNC_FAILPOINT"
NAMES = (
    "page-read",
    "gate-passed",
    "sent",
    "acknowledged",
    "progress-saved",
    "window-closed",
)

Failpoint = Callable[[str], None]


def ignore(name: str) -> None:
    """The failpoint of ordinary runs: nothing happens."""


def from_environment(value: str) -> Failpoint:
    """A failpoint that kills this process as `value` says; raises UsageError."""
    if not value:
        return ignore
    name, _, count = value.partition(":")
    if name not in NAMES or not (count or "1").isdigit():
        raise UsageError(
            f"{ENVIRONMENT}={value} names no failpoint",
            f"NAME:COUNT with one of {', '.join(NAMES)}",
        )
    passes: Counter[str] = Counter()

    def pass_by(passed: str) -> None:
        passes[passed] += 1
        if passed == name and passes[name] == int(count or "1"):
            os.kill(os.getpid(), signal.SIGKILL)

    return pass_by
