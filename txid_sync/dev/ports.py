"""Free TCP ports on 127.0.0.1."""

from __future__ import annotations

import random
import socket

from txid_sync.dev.processes import ServerError

# Below the range from which the kernel takes ports for outgoing connections: a server that was
# killed finds its port free when it comes back.
RANGE = range(15_000, 32_000)
TRIES = 200


def free_port() -> int:
    """A port that nobody listens on now; another process may still take it first."""
    for port in random.SystemRandom().sample(RANGE, TRIES):
        if is_free(port):
            return port
    raise ServerError(f"no free port among {TRIES} tried in {RANGE.start}..{RANGE.stop - 1}")


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
