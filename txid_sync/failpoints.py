"""Named places at which the process can be made to die, to prove that it may.

`TXID_SYNC_FAILPOINT=sent:3` kills the process (SIGKILL, so nothing is tidied up) when it
passes the place `sent` for the third time.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping

from txid_sync.errors import UsageError

ENVIRONMENT = "TXID_SYNC_FAILPOINT"
NAMES = (  # passed by every run
    "progress-loaded",
    "index-prepared",
    "page-read",
    "gate-passed",
    "sent",
    "acknowledged",
    "progress-saved",
    "window-closed",
)
RESYNC_NAMES = ("resync-stored", "sweep-begun")
VERIFY_NAMES = ("verified", "repair-read", "verify-saved")
INIT_NAMES = ("schema-installed", "table-tracked", "reader-granted")
UNINSTALL_NAMES = ("schema-removed",)
EVERY_NAME = (*NAMES, *RESYNC_NAMES, *VERIFY_NAMES, *INIT_NAMES, *UNINSTALL_NAMES)

Failpoint = Callable[[str], None]


def ignore(name: str) -> None:
    """The failpoint of ordinary runs: nothing happens."""


def of_process(environment: Mapping[str, str]) -> Failpoint:
    """The failpoint that the environment asks for; raises UsageError."""
    return from_environment(environment.get(ENVIRONMENT, ""))


def from_environment(value: str) -> Failpoint:
    """A failpoint that kills this process as `value` says; raises UsageError."""
    if not value:
        return ignore
    name, _, count = value.partition(":")
    if name not in EVERY_NAME or not (count or "1").isdigit():
        raise UsageError(
            f"{ENVIRONMENT}={value} names no failpoint",
            f"NAME:COUNT with one of {', '.join(EVERY_NAME)}",
        )
    passes: Counter[str] = Counter()

    def pass_by(passed: str) -> None:
        passes[passed] += 1
        if passed == name and passes[name] == int(count or "1"):
            os.kill(os.getpid(), signal.SIGKILL)

    return pass_by
