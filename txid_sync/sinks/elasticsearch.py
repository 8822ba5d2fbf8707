"""The sink that writes to Elasticsearch (7.17 to 9) and OpenSearch (2 and 3).

Every action carries its version (`external_gte`), so that requests may be repeated and overtake
each other.  `in_flight` requests are open at a time, each in a thread with its own connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from txid_sync.errors import Discontinuity, PreconditionError, SinkUnavailable
from txid_sync.model import Ack, DeadLetter, Document, Held, Page, Schema
from txid_sync.sinks import elasticsearch_loading as loading
from txid_sync.sinks import elasticsearch_reading as reading
from txid_sync.sinks.base import IndexState, Sink
from txid_sync.sinks.bulk import BULK_FIELDS
from txid_sync.sinks.elasticsearch_dead_letters import DeadLetters
from txid_sync.sinks.elasticsearch_delivery import Delivery, Patience, RequestSize
from txid_sync.sinks.elasticsearch_http import ElasticsearchSettings, Http, quoted
from txid_sync.sinks.elasticsearch_indices import Index, find_indices, prepare_index

__all__ = ["ElasticsearchSettings", "ElasticsearchSink"]

LEAST_GC_DELETES_SECONDS = 300
LEAST_TIMEOUT_SECONDS = 30.0

_SCAN_CHUNK = 5000
_SCROLL_KEEP_ALIVE = "5m"
_SHARD_WAIT = "10s"


class ElasticsearchSink(Sink):
    """Applies pages through `_bulk`; see sinks/base.py for the contract."""

    def __init__(
        self,
        settings: ElasticsearchSettings,
        in_flight: int = 2,
        deadline_seconds: float = 60.0,
        dead_letter_index: str = "txid-sync-dead-letters",
    ) -> None:
        self._deadline_seconds = deadline_seconds
        # Deletes have to be remembered for several times as long as a request may be under way.
        self._gc_deletes_seconds = max(LEAST_GC_DELETES_SECONDS, int(5 * deadline_seconds))
        timeout_seconds = max(LEAST_TIMEOUT_SECONDS, deadline_seconds)
        self._http = Http(settings, in_flight + 2, timeout_seconds)
        self._patience, self._size = Patience(), RequestSize()
        self._dead = DeadLetters(
            self._http, dead_letter_index, deadline_seconds, self._patience
        )
        self._workers = ThreadPoolExecutor(in_flight, thread_name_prefix="txid-sync-sink")
        self._paths: dict[str, str] = {}

    def connect(self) -> None:
        """Check that the sink answers, lets us in and is no version unknown; read dead letters."""
        check_version(server_version(self._http), self._http.where)
        self._dead.open()

    def prepare(
        self, documents: Sequence[Document], schemas: Mapping[str, Schema]
    ) -> Mapping[str, IndexState]:
        """Create the missing indices (`<index>-000001` with the alias `<index>`), adopt others."""
        self._dead.create_index()
        states = {}
        for document in documents:
            name = document.name
            index, states[name] = prepare_index(
                self._http, document, schemas[name], self._gc_deletes_seconds
            )
            self._paths[name] = _bulk_path(document.index, index)
        return states

    def adopt(self, documents: Sequence[Document]) -> Mapping[str, str]:
        """Use the indices that are there, as they are."""
        found = find_indices(self._http, [document.index for document in documents])
        for document in documents:
            if document.index in found:
                self._paths[document.name] = _bulk_path(document.index, found[document.index])
        return {d.name: found[d.index].uuid for d in documents if d.index in found}

    def uuids(self) -> Mapping[str, str]:
        """The uuid of the index under each prepared name; missing ones are left out."""
        found = find_indices(self._http, list(self._paths))
        return {name: index.uuid for name, index in found.items()}

    def load_begins(self, document: str) -> None:
        """Refresh the index seldom."""
        loading.load_begins(self._http, document)

    def load_ends(self, document: str) -> None:
        """Refresh the index as is its default."""
        loading.load_ends(self._http, document)

    def submit(self, page: Page) -> Future[Ack]:
        """Send a page in a thread of its own, as soon as one is free."""
        try:
            return self._workers.submit(self._deliver, page)
        except RuntimeError:
            failed: Future[Ack] = Future()
            failed.set_exception(SinkUnavailable("the sink is closed"))
            return failed

    def _deliver(self, page: Page) -> Ack:
        path = self._paths.get(page.document)
        if path is None:
            raise PreconditionError(f"index {page.document} was not prepared")
        self._patience.wait(0.0)
        delivery = Delivery(
            self._http, path, page, self._deadline_seconds, self._patience, self._size
        )
        return self._dead.settle(page, delivery.run())

    def scan(self, document: str) -> Iterator[Sequence[tuple[str, int]]]:
        """All live (id, version), in no order; raises SinkUnavailable if any shard is missing."""
        self._refresh(document)
        query = {"size": _SCAN_CHUNK, "version": True, "_source": False, "sort": ["_doc"]}
        path = f"/{quoted(document)}/_search?scroll={_SCROLL_KEEP_ALIVE}"
        scroll = ""
        try:
            answer = self._whole("POST", f"{path}&allow_partial_search_results=false", query)
            while answer["hits"]["hits"]:
                scroll = answer["_scroll_id"]
                yield [(hit["_id"], hit["_version"]) for hit in answer["hits"]["hits"]]
                value = {"scroll": _SCROLL_KEEP_ALIVE, "scroll_id": scroll}
                answer = self._whole("POST", "/_search/scroll", value)
            scroll = answer["_scroll_id"]
        finally:
            if scroll:
                with suppress(SinkUnavailable):  # it ends by itself in a few minutes
                    self._http.send_json("DELETE", "/_search/scroll", {"scroll_id": scroll})

    def listing(
        self, document: str, place: str, limit: int
    ) -> tuple[Sequence[tuple[str, int]], str]:
        """Some (id, version), in the order in which they were written."""
        return reading.listing(self._http, document, place, limit)

    def fetch(self, document: str, ids: Sequence[str]) -> Mapping[str, Held]:
        """These documents, in real time."""
        return reading.fetch(self._http, document, ids)

    def count(self, document: str) -> int:
        """How many live documents the index holds."""
        self._refresh(document)
        return int(self._whole("POST", f"/{quoted(document)}/_count")["count"])

    def dead_letters(self, limit: int = 100) -> tuple[int, Sequence[DeadLetter]]:
        """How many dead letters are kept, and the oldest of them."""
        return self._dead.listing(limit)

    def letters(self, document: str, ids: Sequence[str]) -> Mapping[str, DeadLetter]:
        """Their dead letters, in real time."""
        return self._dead.kept(document, ids)

    def close(self) -> None:
        """Abandon what waits for a thread or for another attempt; close the connections."""
        self._patience.close()
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._http.close()

    def _refresh(self, document: str) -> None:
        answer = self._http.ask("POST", f"/{quoted(document)}/_refresh", allowed=[404])
        if answer.status == 404:
            raise Discontinuity(f"index {document} is gone", document=document)
        _check_shards(answer.value())

    def _whole(self, method: str, path: str, value: object = None) -> dict[str, Any]:
        """An answer that speaks for all shards; anything less would hide documents."""
        answer = self._http.ask(method, path, value, allowed=[404])
        if answer.status == 404:
            raise SinkUnavailable(f"the sink lost a search of {path.split('/')[1]}")
        found = answer.value()
        _check_shards(found)
        return found


def _bulk_path(name: str, index: Index) -> str:
    alias = "&require_alias=true" if index.alias else ""
    return f"/{quoted(name)}/_bulk?filter_path={BULK_FIELDS}&timeout={_SHARD_WAIT}{alias}"


def _check_shards(answer: Mapping[str, Any]) -> None:
    if answer["_shards"]["failed"] or answer.get("timed_out"):
        raise SinkUnavailable("not all shards of an index answer", "is the cluster green?")


def server_version(http: Http) -> str:
    """The version of the node that answers, like 8.19.2; raises SinkUnavailable or Stop."""
    answer = http.ask("GET", "/_nodes/_local?filter_path=nodes.*.version", allowed=[400, 403, 404])
    if answer.status == 200:
        for node in answer.value().get("nodes", {}).values():
            return str(node["version"])
    value = http.ask("GET", "/").value().get("version", {})
    return str(value.get("number", "")) if isinstance(value, dict) else ""


def check_version(version: str, where: str) -> None:
    """Raise PreconditionError for a server that is too old (1 to 3 are OpenSearch's numbers)."""
    found = re.match(r"(\d+)\.(\d+)", version)
    numbers = (int(found[1]), int(found[2])) if found else (0, 0)
    if (1, 0) <= numbers < (4, 0) or numbers >= (7, 10):
        return
    raise PreconditionError(
        f"the sink at {where} has version {version or 'unknown'}",
        "needed: Elasticsearch 7.10 or later, or OpenSearch",
    )
