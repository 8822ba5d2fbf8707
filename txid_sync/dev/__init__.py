"""Throw-away real servers for the demo and the tests; nothing here is needed in production.

    with PostgresServer() as database, ElasticsearchServer() as search:
        ...  # database.dsn(), search.url

A server listens on 127.0.0.1 only, lives in a folder of its own, and ends with the process that
started it, however that process ends.
"""

from __future__ import annotations

from txid_sync.dev.elasticsearch import ElasticsearchServer
from txid_sync.dev.folders import RunFolder
from txid_sync.dev.postgres import PostgresServer
from txid_sync.dev.processes import ServerError
from txid_sync.dev.search_server import SearchServer

__all__ = [
    "ElasticsearchServer",
    "PostgresServer",
    "RunFolder",
    "SearchServer",
    "ServerError",
]
