"""A real node that is too small for us, and one that is killed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.integration.narrow import NARROW
from txid_sync.cursor import Cursor
from txid_sync.dev.elasticsearch import ElasticsearchServer
from txid_sync.errors import SinkUnavailable
from txid_sync.model import Column, Document, Page, Schema
from txid_sync.progress.base import Progress
from txid_sync.progress.elasticsearch import ElasticsearchProgress
from txid_sync.sinks.elasticsearch import ElasticsearchSettings, ElasticsearchSink
from txid_sync.snapshot import Snapshot

pytestmark = pytest.mark.integration

SCHEMA = Schema((Column("n", "int8"), Column("t", "text")), ("n",), "1", "1")


@pytest.fixture(scope="module")
def narrow() -> Iterator[ElasticsearchServer]:
    """A node with short queues, little memory for requests, and a low limit for their size."""
    with ElasticsearchServer(settings=NARROW) as server:
        yield server


@pytest.fixture
def own() -> Iterator[ElasticsearchServer]:
    """A node that may be killed."""
    with ElasticsearchServer() as server:
        yield server


def made_sink(url: str, index: str, in_flight: int = 4, seconds: float = 30.0) -> ElasticsearchSink:
    """A prepared sink on a node."""
    settings = ElasticsearchSettings(url)
    sink = ElasticsearchSink(settings, in_flight, seconds, f"{index}-dead")
    sink.connect()
    sink.prepare([Document("t", index)], {index: SCHEMA})
    return sink


def page_of(index: str, version: int, ids: range, text: str) -> Page:
    """A page with these ids."""
    lines = []
    for i in ids:
        head = {"_id": str(i), "version": version, "version_type": "external_gte"}
        lines += [json.dumps({"index": head}), json.dumps({"n": i, "t": text})]
    body = "".join(f"{line}\n" for line in lines).encode()
    return Page(index, body, len(ids), version, read_at_seconds=time.monotonic())


def test_A16_an_overloaded_node_gets_everything_in_the_end(
    narrow: ElasticsearchServer, index_prefix: str
) -> None:
    """Refusals with 429, of items and of requests, are sent again until all is applied."""
    index = f"{index_prefix}busy"
    with closing(made_sink(narrow.url, index, in_flight=8, seconds=90.0)) as sink:
        pages = [
            page_of(index, 5, range(at, at + 200), "word " * 150) for at in range(0, 4000, 200)
        ]
        acks = [future.result(120) for future in [sink.submit(page) for page in pages]]
        assert any(ack.retried for ack in acks)
        assert all(ack.dead == () for ack in acks)
        assert sink.count(index) == 4000


def test_a_request_larger_than_the_nodes_memory_is_halved(
    narrow: ElasticsearchServer, index_prefix: str
) -> None:
    """A body above the limit of memory under way (429) passes in parts."""
    index = f"{index_prefix}large"
    with closing(made_sink(narrow.url, index)) as sink:
        page = page_of(index, 5, range(100), "word " * 1600)
        assert 600_000 < len(page.body) < 1_000_000
        ack = sink.submit(page).result(60)
        assert (ack.dead, ack.retried) == ((), True)
        assert sink.count(index) == 100


def test_a_request_over_the_content_limit_is_halved(
    narrow: ElasticsearchServer, index_prefix: str
) -> None:
    """413 splits the request; the one document that is too large alone becomes a dead letter."""
    index = f"{index_prefix}wide"
    with closing(made_sink(narrow.url, index)) as sink:
        rows = page_of(index, 5, range(300), "word " * 1000)
        giant = page_of(index, 5, range(1000, 1001), "x" * 1_100_000)
        page = Page(index, rows.body + giant.body, 301, 5, read_at_seconds=time.monotonic())
        ack = sink.submit(page).result(60)
        assert [letter.id for letter in ack.dead] == ["1000"]
        assert ack.dead[0].reason.startswith("413")
        assert sink.count(index) == 300


def test_a_killed_node_is_told_at_once_and_comes_back(
    own: ElasticsearchServer, index_prefix: str
) -> None:
    """In flight and after: SinkUnavailable, not a wait; what was acknowledged survives the kill."""
    index = f"{index_prefix}killed"
    progress = Progress(Cursor.start(Snapshot.parse("5:5:")), {"system": "1"})
    settings = ElasticsearchSettings(own.url)
    store = ElasticsearchProgress(settings, f"{index}-progress", deadline_seconds=1.0)
    with closing(store), closing(made_sink(own.url, index)) as sink:
        fence = store.save("a", progress, None)
        acknowledged = 0
        futures = []
        for at in range(0, 20000, 500):
            futures.append(sink.submit(page_of(index, 5, range(at, at + 500), "word")))
            if at == 4000:
                futures[2].result(60)
                own.kill9()
        for future in futures:
            try:
                acknowledged += future.result(60).documents
            except SinkUnavailable:
                continue
        assert 0 < acknowledged < 20000
        with pytest.raises(SinkUnavailable):
            store.save("a", progress, fence)
        with pytest.raises(SinkUnavailable):
            sink.connect()
        own.start()
        sink.connect()
        assert sink.count(index) >= acknowledged
        assert sink.submit(page_of(index, 6, range(10), "again")).result(60).dead == ()
        assert store.load("a") == (progress, fence)
        store.save("a", progress, fence)
