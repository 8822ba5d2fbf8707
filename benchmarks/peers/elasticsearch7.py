"""Elasticsearch 7.17, the newest that PGSync's pinned client speaks with."""

from __future__ import annotations

from pathlib import Path

from txid_sync.dev.engines import Engine
from txid_sync.dev.search_server import SearchServer

VERSION = "7.17.29"
# An absolute folder: the node's sources lie beside this file.
ENGINE = Engine(
    "elasticsearch", VERSION, "2.17.1", 17,
    str(Path(__file__).parent / "es7"), "org.elasticsearch.node.EsMain",
)  # fmt: skip


class Elasticsearch7(SearchServer):
    """One node of it."""

    def __init__(self, heap_megabytes: int = 1024) -> None:
        super().__init__(ENGINE, heap_megabytes=heap_megabytes, long_lived=True)
