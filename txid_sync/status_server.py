"""An HTTP server beside a running daemon: GET /status, /metrics, /healthz.

It asks no server and changes nothing: every answer is made from what the daemon has in memory.  It
logs nothing of a request, keeps no connection, and serves a bounded number at a time, each for a
bounded time; the pipeline goes on whatever comes in here.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from txid_sync import __version__, metrics
from txid_sync.address import ADDRESS_HINT, address_of
from txid_sync.errors import UsageError
from txid_sync.pipeline_status import Report

log = logging.getLogger("txid_sync")

CONNECTIONS = 16
REQUEST_SECONDS = 5.0
POLL_SECONDS = 0.2
_ANOTHER = "choose another address: [status] listen, or --listen"
_TEXT = "text/plain; charset=utf-8"


@contextmanager
def serving(listen: str, report: Callable[[], Report]) -> Iterator[None]:
    """Serve on this address (empty: not at all); raises UsageError if that is not possible."""
    if not listen:
        yield
        return
    with _bound(listen, report) as server:
        host, port = server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else host
        log.info("status on http://%s:%d/status", shown, port, extra={"action": "listening"})
        threading.Thread(
            target=server.serve_forever, args=(POLL_SECONDS,), name="txid-sync-status", daemon=True
        ).start()
        try:
            yield
        finally:
            server.shutdown()


def _bound(listen: str, report: Callable[[], Report]) -> _Server:
    found = address_of(listen)
    if found is None:
        raise UsageError(f"{listen!r} is no address to listen on", ADDRESS_HINT)
    try:
        family, *_, address = socket.getaddrinfo(*found, type=socket.SOCK_STREAM)[0]
        return _Server(family, address, report)
    except OSError as error:
        what = error.strerror or "no such address"
        raise UsageError(f"cannot listen on {listen}: {what}", _ANOTHER) from None
    except UnicodeError:
        raise UsageError(f"cannot listen on {listen}: no such address", _ANOTHER) from None


class _Server(ThreadingHTTPServer):
    """Bounded in connections, and in time for each."""

    daemon_threads = True
    allow_reuse_port = False
    request_queue_size = 4 * CONNECTIONS  # a burst is refused at once, not after TCP's repetition

    def __init__(self, family: int, address: Any, report: Callable[[], Report]) -> None:
        self.address_family = family
        self.report = report
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without asking for the host's name, which may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "txid-sync", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for it, unless there are enough."""
        with self._lock:
            free = len(self._open) < CONNECTIONS
            if free:
                self._open[request] = time.monotonic()
        if free:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Let go of a connection."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End what takes too long; called all the time."""
        now = time.monotonic()
        with self._lock:
            late = [r for r, since in self._open.items() if now - since > REQUEST_SECONDS]
        for request in late:
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client that went away is no news; anything else is told without what it has sent."""
        error = sys.exc_info()[1]
        level = logging.DEBUG if isinstance(error, OSError) else logging.WARNING
        log.log(level, "a request for the status failed: %s", type(error).__name__)


class _Handler(BaseHTTPRequestHandler):
    """One request, then the connection ends."""

    server: _Server
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"
    server_version, sys_version = "txid-sync", ""
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        """Answer, or say what there is."""
        path = self.path.partition("?")[0]
        if path == "/status":
            value = metrics.as_json(self.server.report(), __version__)
            text = json.dumps(value, indent=2, ensure_ascii=False)
            self._answer(HTTPStatus.OK, f"{text}\n", "application/json")
        elif path == "/metrics":
            text = metrics.as_text(self.server.report(), __version__)
            self._answer(HTTPStatus.OK, text, metrics.CONTENT_TYPE)
        elif path == "/healthz":
            healthy = self.server.report().healthy
            status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, "ok\n" if healthy else "unavailable\n")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "there is /status, /metrics and /healthz\n")

    def do_HEAD(self) -> None:
        """The same without the body."""
        self.do_GET()

    def send_error(
        self,
        code: int,
        message: str | None = None,  # noqa: ARG002  it may hold what the client has sent
        explain: str | None = None,  # noqa: ARG002
    ) -> None:
        """Refuse a request."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            code = HTTPStatus.METHOD_NOT_ALLOWED
        self._answer(code, f"{HTTPStatus(code).phrase}\n")

    def _answer(self, code: int, text: str, content_type: str = _TEXT) -> None:
        body = text.encode()
        self.close_connection = True
        self.send_response(code, HTTPStatus(code).phrase)
        headers = {
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Connection": "close",
        }
        if code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "GET, HEAD"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing of a request is logged."""
