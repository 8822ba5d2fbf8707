"""The servers that all contenders share, and what an index holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import pgsync, rows
from benchmarks.peers.elasticsearch7 import Elasticsearch7
from benchmarks.peers.redis import Redis
from txid_sync.dev.postgres import PostgresServer

SETTINGS = {
    "wal_level": "logical",  # PGSync needs a replication slot; the others do not care
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
}
SCAN_CHUNK = 10_000
PATIENCE_SECONDS = 180.0
SHARE_OF_WAIT = 0.02


@dataclass(frozen=True, slots=True)
class Site:
    """The servers of a run, and the folder of PGSync's virtual environment."""

    postgres: PostgresServer
    search: Elasticsearch7
    redis: Redis
    pgsync: Path

    def versions(self) -> dict[str, str]:
        """Of everything that takes part."""
        with closing(self.postgres.connect()) as admin:
            number = admin.info.parameter_status("server_version")
        return {
            "PostgreSQL": str(number), "Elasticsearch": self.search.version,
            "PGSync": pgsync.pinned("pgsync"), "Redis": self.redis.version(),
            "client of PGSync and the poller": pgsync.pinned("elasticsearch"),
        }  # fmt: skip

    def indexed(self, index: str) -> int:
        """How many documents were indexed since the index was made; needs no refresh."""
        path = f"/{index}/_stats/indexing?filter_path=_all.primaries.indexing.index_total"
        try:
            found = self.search.request("GET", path)
        except OSError:
            return 0
        return int(found["_all"]["primaries"]["indexing"]["index_total"]) if found else 0

    def fields(self, index: str) -> dict[str, object]:
        """The mapping of an index, by field; a contender may have its own idea of it."""
        found = self.search.request("GET", f"/{index}/_mapping")
        mappings: dict[str, dict[str, object]] = next(iter(found.values()))["mappings"]
        return mappings["properties"]

    def totals(self, index: str) -> tuple[int, int]:
        """How many documents there are, and the sum of their revisions."""
        body = {
            "size": 0, "track_total_hits": True,
            "aggs": {"revisions": {"sum": {"field": "revision"}}},
        }  # fmt: skip
        try:
            self.search.request("POST", f"/{index}/_refresh")
            found = self.search.request("POST", f"/{index}/_search", body)
        except OSError:
            return 0, 0
        return found["hits"]["total"]["value"], int(found["aggregations"]["revisions"]["value"])

    def revisions(self, index: str) -> dict[int, int]:
        """The revision of every document by the row's key."""
        found: dict[int, int] = {}
        self.search.request("POST", f"/{index}/_refresh")
        body: dict[str, object] = {
            "size": SCAN_CHUNK, "_source": False, "sort": [{"id": "asc"}],
            "docvalue_fields": ["id", "revision"],
        }  # fmt: skip
        while True:
            hits = self.search.request("POST", f"/{index}/_search", body)["hits"]["hits"]
            if not hits:
                return found
            found |= {h["fields"]["id"][0]: h["fields"]["revision"][0] for h in hits}
            body["search_after"] = hits[-1]["sort"]


@contextmanager
def site() -> Iterator[Site]:
    """All servers, private; the same mapping for whatever index is made."""
    with ExitStack() as stack:
        search = stack.enter_context(Elasticsearch7())
        postgres = stack.enter_context(PostgresServer(settings=SETTINGS))
        redis = stack.enter_context(Redis())
        template = {
            "index_patterns": ["goods-*"],
            "template": {
                "settings": {"number_of_shards": 1, "number_of_replicas": 0},
                "mappings": {"properties": rows.MAPPING},
            },
        }
        search.request("PUT", "/_index_template/goods", template)
        yield Site(postgres, search, redis, pgsync.environment())


def until(condition: Callable[[], bool], patience_seconds: float = PATIENCE_SECONDS) -> bool:
    """Wait for a condition, looking ever more seldom; False if it did not come."""
    begun = time.monotonic()
    while not condition():
        waited = time.monotonic() - begun
        if waited > patience_seconds:
            return False
        time.sleep(max(0.01, waited * SHARE_OF_WAIT))
    return True
