"""Bodies that are compressed: what is sent, when, and that it says the same."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any, ClassVar

import pytest
from isal import isal_zlib

from tests.unit.listening import Quiet, listening
from txid_sync.sinks import compression
from txid_sync.sinks.compression import LEAST_BYTES, compressed, is_wanted
from txid_sync.sinks.elasticsearch_http import NDJSON, ElasticsearchSettings, Http

PAGE = b'{"index":{"_id":"1"}}\n{"v":"\xc3\xa9"}\n' * 1000


class Listener(Quiet):
    """Remembers what it was sent: how it is encoded, and its bytes."""

    heard: ClassVar[list[tuple[str | None, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.heard.append((self.headers["content-encoding"], body))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")


@pytest.fixture
def url() -> Iterator[str]:
    """Of a server that only listens."""
    Listener.heard = []
    with listening(Listener) as address:
        yield f"http://{address}"


@pytest.mark.parametrize("library", [zlib, isal_zlib], ids=["zlib", "isal"])
@pytest.mark.parametrize("body", [b"", b"x", PAGE], ids=["nothing", "little", "page"])
def test_a_compressed_body_says_the_same(
    library: Any, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With either library."""
    monkeypatch.setattr(compression, "_zlib", library)
    assert gzip.decompress(compressed(body)) == body
    assert body != PAGE or len(compressed(body)) < len(body) / 6


def test_without_the_faster_library_the_other_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is optional."""
    assert compression._library() is isal_zlib
    monkeypatch.setitem(__import__("sys").modules, "isal.isal_zlib", None)
    assert compression._library() is zlib


@pytest.mark.parametrize(
    ("choice", "nodes", "wanted"),
    [
        ("auto", ["http://127.0.0.1:9200", "http://localhost:1"], False),
        ("auto", ["http://localhost:1", "http://10.0.0.1:9200"], True),
        ("auto", ["http://localhost.example.com:1"], True),
        ("always", ["http://localhost:1"], True),
        ("never", ["http://10.0.0.1:9200"], False),
    ],
)
def test_remote_nodes_get_compressed_bodies(choice: str, nodes: list[str], wanted: bool) -> None:
    """Unless it is told otherwise."""
    assert is_wanted(choice, nodes) == wanted


@pytest.mark.parametrize(
    ("choice", "body", "encoding"),
    [
        ("always", PAGE, "gzip"),
        ("always", b" " * (LEAST_BYTES - 1), None),
        ("auto", PAGE, None),
        ("never", PAGE, None),
    ],
)
def test_what_is_sent(url: str, choice: str, body: bytes, encoding: str | None) -> None:
    """Large bodies, with the header that says so; here the node is local."""
    with closing(Http(ElasticsearchSettings(url, compress=choice), 1, 10.0)) as http:
        http.send("POST", "/_bulk", body, NDJSON)
    ((heard, sent),) = Listener.heard
    assert heard == encoding
    assert (gzip.decompress(sent) if encoding else sent) == body
