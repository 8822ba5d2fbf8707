"""The proxy before Elasticsearch: cuts as in proxy.py, and answers of its own.

A request is passed on whole, its answer is read whole, so that each can be cut at any place.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping

from tests.faults.proxy import CUT_ANSWER, Fault, Proxy, Wire

TRUNCATED = "truncated"  # served; the answer's body ends early, with a Content-Length that fits
TOO_SHORT = "too-short"  # served; the answer's body ends before its Content-Length
EMPTY = "empty"  # served; the answer has no body
GARBAGE = "garbage"  # served; the answer is no HTTP
SERVED = (CUT_ANSWER, TRUNCATED, TOO_SHORT, EMPTY, GARBAGE)

_HTML = b"<html><body><h1>Bad Gateway</h1></body></html>"


def _refusal(kind: str) -> bytes:
    return b'{"error":{"type":"%s","reason":"by the proxy"}}' % kind.encode()


# Answers without asking the server: status, type and body.
OWN: Mapping[str, tuple[int, str, bytes]] = {
    "429": (429, "application/json", _refusal("es_rejected_execution_exception")),
    "503": (503, "application/json", _refusal("cluster_block_exception")),
    "413": (413, "application/json", _refusal("too_large")),
    "400": (400, "application/json", _refusal("illegal_argument_exception")),
    "html-200": (200, "text/html", _HTML),
    "html-400": (400, "text/html", _HTML),
    "html-404": (404, "text/html", _HTML),
    "html-413": (413, "text/html", _HTML),
    "html-429": (429, "text/html", _HTML),
    "html-502": (502, "text/html", _HTML),
    "html-503": (503, "text/html", _HTML),
    "empty-200": (200, "application/json", b""),
    "list-200": (200, "application/json", b"[]"),
}


class HttpProxy(Proxy):
    """Before Elasticsearch: a request is head and body, as the client sent them."""

    @property
    def url(self) -> str:
        """Base address of the proxy, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self, wire: Wire) -> None:
        """One request after the other."""
        with wire.client.makefile("rb") as stream:
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = stream.readline()
                    if not line:
                        return
                    head += line
                request = head + stream.read(_length(head))
                fault = self.strike(wire, request)
                own = OWN.get(fault.kind) if fault else None
                if own is not None:
                    wire.client.sendall(_answer(*own))
                    continue
                wire.server.sendall(request)
                status, kind, body = _read_answer(wire.server, request)
                if fault is not None:
                    wire.client.sendall(_spoilt(fault, _answer(status, kind, body), body))
                    if fault.kind not in (TRUNCATED, EMPTY):
                        return
                else:
                    no_body = head.startswith(b"HEAD ")
                    wire.client.sendall(_answer(status, kind, body, no_body))


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def _read_answer(server: socket.socket, request: bytes) -> tuple[int, str, bytes]:
    answer = http.client.HTTPResponse(server, method=request.split(b" ", 1)[0].decode())
    try:
        answer.begin()
        body = answer.read()
    except http.client.HTTPException as error:
        raise EOFError from error
    return answer.status, answer.getheader("content-type") or "application/json", body


def _answer(status: int, kind: str, body: bytes, no_body: bool = False) -> bytes:
    reason = http.client.responses.get(status, "?")
    head = f"HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}"
    # The client of Elasticsearch asks who answers.
    return f"{head}\r\nX-elastic-product: Elasticsearch\r\n\r\n".encode() + (
        b"" if no_body else body
    )


def _spoilt(fault: Fault, whole: bytes, body: bytes) -> bytes:
    """What the client gets of an answer that came."""
    half = body[: len(body) // 2]
    if fault.kind == TRUNCATED:
        return _answer(200, "application/json", half)
    if fault.kind == TOO_SHORT:
        return whole[: len(whole) - len(body) + len(half)] if body else b""
    if fault.kind == EMPTY:
        return _answer(200, "application/json", b"")
    if fault.kind == GARBAGE:
        return b"\x00\xff garbage \r\n\r\n"
    return whole[: int(fault.bytes)]
