"""The Elasticsearch side of a comparison: documents by id, all ids, and dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from txid_sync.compare_json import read, whole
from txid_sync.errors import SinkUnavailable
from txid_sync.sinks.elasticsearch_http import Http, quoted
from txid_sync.sinks.elasticsearch_indices import find_indices

SCAN_CHUNK = 2000
KEEP_ALIVE = "5m"
LETTERS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Hit:
    """A document found by a scan; `routed`: it was written with a routing of its own."""

    id: str
    routed: bool


class IndexReader:
    """Reads one index, all writes made visible before."""

    def __init__(self, http: Http, index: str) -> None:
        self._http = http
        self._path = f"/{quoted(index)}"
        self._index = index

    def open(self) -> bool:
        """Make all writes visible; False if there is no such index.

        Raises PreconditionError if the name stands for several indices.
        """
        if self._index not in find_indices(self._http, [self._index]):
            return False
        answer = self._http.ask("POST", f"{self._path}/_refresh", allowed=[404])
        if answer.status != 404:
            _check_shards(read(answer.body))
        return answer.status != 404

    def get(self, ids: Sequence[str]) -> Mapping[str, Any]:
        """The documents with these ids, as read by `compare_json`; others are left out.

        A document without its source is given as None, which no row equals.
        """
        answer = read(self._http.ask("POST", f"{self._path}/_mget", {"ids": list(ids)}).body)
        found = {}
        for entry in answer["docs"]:
            if "error" in entry:
                reason = entry["error"].get("reason", "")
                raise SinkUnavailable(f"index {self._index} does not give a document: {reason}")
            if entry["found"]:
                found[entry["_id"]] = entry.get("_source")
        return found

    def scan(self) -> Iterator[Sequence[Hit]]:
        """All documents, in no order; raises SinkUnavailable if a shard is missing."""
        query = {"size": SCAN_CHUNK, "_source": False, "sort": ["_doc"]}
        options = f"scroll={KEEP_ALIVE}&allow_partial_search_results=false"
        scroll = ""
        try:
            answer = self._search(f"{self._path}/_search?{options}", query)
            while answer["hits"]["hits"]:
                scroll = answer["_scroll_id"]
                yield [Hit(hit["_id"], "_routing" in hit) for hit in answer["hits"]["hits"]]
                value = {"scroll": KEEP_ALIVE, "scroll_id": scroll}
                answer = self._search("/_search/scroll", value)
            scroll = answer["_scroll_id"]
        finally:
            if scroll:
                self._http.send_json("DELETE", "/_search/scroll", {"scroll_id": scroll})

    def _search(self, path: str, value: object) -> Any:
        answer = read(self._http.ask("POST", path, value).body)
        _check_shards(answer)
        return answer


class DeadLetterReader:
    """Reads which documents of an index were refused."""

    def __init__(self, http: Http, index: str) -> None:
        self._http = http
        self._path = f"/{quoted(index)}"

    def of(self, document: str) -> tuple[int, Sequence[str]]:
        """How many dead letters a document has, and the ids of the oldest few."""
        if self._http.ask("POST", f"{self._path}/_refresh", allowed=[404]).status == 404:
            return 0, ()
        query = {
            "size": LETTERS_SHOWN,
            "track_total_hits": True,
            "query": {"term": {"document": document}},
            "sort": [{"at": {"order": "asc", "unmapped_type": "date"}}],
        }
        answer = read(self._http.ask("POST", f"{self._path}/_search", query).body)
        _check_shards(answer)
        hits = answer["hits"]
        return whole(hits["total"]["value"]), [hit["_source"]["id"] for hit in hits["hits"]]

    def among(self, document: str, ids: Sequence[str]) -> set[str]:
        """Those of these (at most 10,000) ids that are dead letters of the document."""
        if self._http.send("HEAD", self._path).status == 404 or not ids:
            return set()
        conditions = [{"term": {"document": document}}, {"terms": {"id": list(ids)}}]
        query = {"size": len(ids), "query": {"bool": {"filter": conditions}}}
        answer = read(self._http.ask("POST", f"{self._path}/_search", query).body)
        return {hit["_source"]["id"] for hit in answer["hits"]["hits"]}


def _check_shards(answer: Any) -> None:
    """Anything less than all shards would hide documents."""
    if whole(answer["_shards"]["failed"]) or answer.get("timed_out"):
        raise SinkUnavailable("not all shards of an index answer", "is the cluster green?")
