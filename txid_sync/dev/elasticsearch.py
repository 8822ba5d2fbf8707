"""A throw-away Elasticsearch, see search_server.py."""

from __future__ import annotations

from collections.abc import Mapping

from txid_sync.dev.search_server import SearchServer

DEFAULT_VERSION = "8.19.20"


class ElasticsearchServer(SearchServer):
    """One node of that version of Elasticsearch."""

    def __init__(
        self,
        version: str | None = None,
        settings: Mapping[str, object] | None = None,
        *,
        heap_megabytes: int = 512,
        long_lived: bool = False,
    ) -> None:
        engine = f"elasticsearch-{version or DEFAULT_VERSION}"
        super().__init__(
            engine, settings, heap_megabytes=heap_megabytes, long_lived=long_lived
        )
