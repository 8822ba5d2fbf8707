"""Runs one server and ends it when the process that asked for it has gone.

A process of its own, and not a death signal set by the caller: that signal follows the calling
*thread*, and setting it needs code between fork and exec, which is unsafe beside other threads.
This one has a single thread.  Its only argument is a JSON object (see `processes.py`); it prints
the server's pid, then waits.  It imports the standard library only and runs with `-I -S`, so that
it starts in about 20 ms.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import Any

PR_SET_PDEATHSIG = 1


def main() -> int:
    """Exit code: that of the server, 128 + signal if a signal ended it."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    parent = os.pidfd_open(order["parent"])
    if os.getppid() != order["parent"]:
        return 1  # the caller died before it could be watched
    libc = ctypes.CDLL(None)

    def die_with_supervisor() -> None:
        # subprocess changes the uid before this runs; the change would clear the signal.
        libc.prctl(PR_SET_PDEATHSIG, order["orphan_signal"], 0, 0, 0)

    server = subprocess.Popen(
        order["argv"],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        cwd=order["cwd"],
        env=order["environment"],
        user=order["user"],
        group=order["group"],
        extra_groups=[] if order["user"] is not None else None,
        start_new_session=True,
        preexec_fn=die_with_supervisor,  # noqa: PLW1509 - one thread only, see the docstring
    )
    sys.stdout.write(f"{server.pid}\n")
    sys.stdout.close()
    if not wait_for_server(server, parent):
        end(server, order["orphan_signal"])
        shutil.rmtree(order["folder"], ignore_errors=True)
    code = server.wait()
    return code if code >= 0 else 128 - code


def wait_for_server(server: subprocess.Popen[bytes], parent: int) -> bool:
    """True when the server ended by itself, False when the caller has gone."""
    child = os.pidfd_open(server.pid)
    poll = select.poll()
    poll.register(parent, select.POLLIN)
    poll.register(child, select.POLLIN)
    ready = {number for number, _ in poll.poll()}
    return child in ready


def end(server: subprocess.Popen[bytes], how: int) -> None:
    """Send the signal; SIGKILL follows if the server is still there after ten seconds."""
    server.send_signal(how)
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
