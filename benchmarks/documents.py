"""Single documents of an index, read and written over one connection."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit


class Documents:
    """Single documents of an index, over one connection."""

    def __init__(self, url: str, index: str) -> None:
        where = urlsplit(url)
        self._connection = HTTPConnection(where.hostname or "", where.port)
        self._path = f"/{index}/_doc/"

    def get(self, id: int) -> str:
        """Its bytes, in real time."""
        return self._ask("GET", id, None)

    def source(self, id: int) -> dict[str, Any]:
        """What was put in."""
        found: dict[str, Any] = json.loads(self.get(id))["_source"]
        return found

    def put(self, id: int, text: str) -> None:
        """Index one."""
        self._ask("PUT", id, text)

    def _ask(self, method: str, id: int, text: str | None) -> str:
        headers = {"content-type": "application/json"}
        self._connection.request(method, f"{self._path}{id}", text, headers)
        return self._connection.getresponse().read().decode()

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()
