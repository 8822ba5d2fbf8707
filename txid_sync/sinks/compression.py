"""gzip of request bodies: less to send, for processor time.

Level 1: a page of JSON shrinks to a sixth or less, and higher levels take several times as long for
a tenth of that.  With the extra `fast` (the package isal) it takes a seventh of the time.
"""

from __future__ import annotations

import importlib
import ipaddress
import zlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

LEAST_BYTES = 4096  # below that there is nothing to gain
_GZIP = 31  # of zlib's `wbits`: the widest window, with gzip's header


def _library() -> Any:
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return zlib


_zlib = _library()


def compressed(body: bytes) -> bytes:
    """The body as a gzip stream."""
    stream = _zlib.compressobj(level=1, wbits=_GZIP)
    return bytes(stream.compress(body) + stream.flush())


def is_wanted(choice: str, nodes: Iterable[str]) -> bool:
    """Whether bodies are compressed: `auto` is for nodes on other machines.

    >>> is_wanted("auto", ["http://localhost:9200", "http://[::1]:9200"])
    False
    >>> is_wanted("auto", ["https://search.example.com:443"])
    True
    """
    if choice != "auto":
        return choice == "always"
    return not all(_is_loopback(urlsplit(node).hostname or "") for node in nodes)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
