"""A web server that listens in a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any


class Quiet(BaseHTTPRequestHandler):
    """Says nothing on stderr."""

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@contextmanager
def listening(handler: type[Quiet]) -> Iterator[str]:
    """The address (host:port) of a server whose requests this class answers."""
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
