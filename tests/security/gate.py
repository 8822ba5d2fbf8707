"""TLS before Elasticsearch, as a cluster with security has it: a certificate, and logins.

The servers that the tests start speak plain HTTP, so a gate stands before a real one: it ends TLS,
lets in who has the right login, and answers the others as Elasticsearch does.
"""

from __future__ import annotations

import base64
import contextlib
import ssl

from tests.faults.http_proxy import HttpProxy
from tests.faults.proxy import Fault, Wire

_REFUSAL = b'{"error":{"type":"security_exception","reason":"unable to authenticate"},"status":401}'
_HEAD = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"


class Gate(HttpProxy):
    """An HTTPS address with one API key and one user; `let_in` and `turned_away` count requests."""

    def __init__(self, server_port: int, context: ssl.SSLContext, api_key: str, login: str) -> None:
        self._context = context
        basic = base64.b64encode(login.encode()).decode()
        self._accepted = (f"ApiKey {api_key}".encode(), f"Basic {basic}".encode())
        self.let_in = self.turned_away = 0
        super().__init__(server_port)

    @property
    def url(self) -> str:
        """Its address, by the name in the certificate."""
        return f"https://localhost:{self.port}"

    def serve(self, wire: Wire) -> None:
        """TLS first."""
        with contextlib.suppress(ssl.SSLError):
            wire.client = self._context.wrap_socket(wire.client, server_side=True)
            super().serve(wire)

    def strike(self, wire: Wire, request: bytes) -> Fault | None:
        """Pass on what has a login; raises EOFError for the rest, which is answered here."""
        head = request.partition(b"\r\n\r\n")[0]
        values = (line.partition(b":")[2].strip() for line in head.split(b"\r\n")
                  if line.lower().startswith(b"authorization:"))  # fmt: skip
        if next(values, b"") in self._accepted:
            self.let_in += 1
            return super().strike(wire, request)
        self.turned_away += 1
        wire.client.sendall(_HEAD.format(len(_REFUSAL)).encode() + _REFUSAL)
        raise EOFError
