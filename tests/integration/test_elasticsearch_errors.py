"""The table of errors, played on a real server: what is retried, kept, told, or stopped at."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from txid_sync.errors import PageExpired, PreconditionError, SinkUnavailable, UsageError
from txid_sync.model import Ack, Column, Document, Page, Schema
from txid_sync.sinks import elasticsearch_delivery
from txid_sync.sinks.elasticsearch import ElasticsearchSettings, ElasticsearchSink
from txid_sync.sinks.elasticsearch_http import Answer, Http, quoted

pytestmark = pytest.mark.integration

SCHEMA = Schema((Column("n", "int8"), Column("t", "text")), ("n",), "1", "1")


class Bench:
    """One prepared index on a server; remembers the body of every bulk request to it."""

    def __init__(self, url: str, prefix: str, deadline_seconds: float = 20.0) -> None:
        self.index = f"{prefix}things"
        settings = ElasticsearchSettings(url)
        self.sink = ElasticsearchSink(settings, 4, deadline_seconds, f"{prefix}dead")
        self.http = Http(settings, 1, 30.0)
        self.document = Document("t", self.index, mapping={"n": {"type": "long"}})
        self.sent: list[bytes] = []
        real = self.sink._http.send

        def send(method: str, path: str, body: bytes | None = None, media: str = "") -> Answer:
            if f"/{self.index}/_bulk" in path:
                self.sent.append(body or b"")
            return real(method, path, body, media or "application/json")

        self.sink._http.send = send  # type: ignore[method-assign]

    def prepare(self) -> None:
        self.sink.connect()
        self.sink.prepare([self.document], {self.index: SCHEMA})

    def page(self, version: int, ids: range, text: str = "x") -> Page:
        lines = []
        for i in ids:
            head = {"_id": str(i), "version": version, "version_type": "external_gte"}
            lines += [json.dumps({"index": head}), json.dumps({"n": i, "t": text})]
        body = "".join(f"{line}\n" for line in lines).encode()
        return Page(self.index, body, len(ids), version, read_at_seconds=time.monotonic())

    def send(self, page: Page) -> Ack:
        return self.sink.submit(page).result(60)

    def setting(self, name: str, value: object) -> None:
        self.http.ask("PUT", f"/{quoted(self.index)}/_settings", {name: value})

    def when_sent(self, requests: int, act: Callable[[], object]) -> None:
        """Do something as soon as that many requests were sent."""
        until = time.monotonic() + 20
        while len(self.sent) < requests:
            assert time.monotonic() < until, "no request was sent"
            time.sleep(0.01)
        act()

    def close(self) -> None:
        self.sink.close()
        self.http.close()


@pytest.fixture
def bench(elasticsearch_url: str, index_prefix: str) -> Iterator[Bench]:
    """An empty prepared index on the shared server."""
    made = Bench(elasticsearch_url, index_prefix)
    made.prepare()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are tried again faster than an operator would need."""
    monkeypatch.setattr(elasticsearch_delivery, "_BLOCKED_BASE_SECONDS", 0.1)


BLOCKS = ["read_only_allow_delete", "write", "read_only"]


@pytest.mark.parametrize("block", BLOCKS)
def test_H10_a_blocked_index_is_waited_for(
    bench: Bench, block: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk or a locked index: tried again, with one warning, until it is free."""
    bench.setting(f"index.blocks.{block}", True)
    with caplog.at_level(logging.WARNING):
        begun_seconds = time.monotonic()
        future = bench.sink.submit(bench.page(5, range(3)))
        bench.when_sent(3, lambda: bench.setting(f"index.blocks.{block}", None))
        ack = future.result(30)
    assert (ack.documents, ack.dead, ack.retried) == (3, (), True)
    assert 0 < ack.seconds < time.monotonic() - begun_seconds
    assert bench.sink.count(bench.index) == 3
    warnings = [r for r in caplog.records if "blocks writes" in r.message]
    assert len(warnings) == 1


def test_a_page_expires_while_the_index_is_blocked(
    elasticsearch_url: str, index_prefix: str
) -> None:
    """At the deadline the page is given back, with the last answer, and nothing is kept of it."""
    bench = Bench(elasticsearch_url, index_prefix, deadline_seconds=0.5)
    bench.prepare()
    bench.setting("index.blocks.write", True)
    with pytest.raises(PageExpired, match="index write"):
        bench.send(bench.page(5, range(3)))
    bench.setting("index.blocks.write", None)
    assert bench.sink.count(bench.index) == 0
    assert bench.sink.dead_letters() == (0, [])
    bench.close()


def test_a_page_that_is_too_old_is_not_sent(bench: Bench) -> None:
    """What waited longer than the deadline before sending is read again."""
    page = replace(bench.page(5, range(3)), read_at_seconds=time.monotonic() - 21)
    with pytest.raises(PageExpired):
        bench.send(page)
    assert bench.sent == []


def test_a_closed_index_costs_no_document(bench: Bench) -> None:
    """A closed index answers 400 to every document; none of them is to blame."""
    bench.http.ask("POST", f"/{quoted(bench.index)}-000001/_close")
    future = bench.sink.submit(bench.page(5, range(3)))
    bench.when_sent(2, lambda: bench.http.ask("POST", f"/{quoted(bench.index)}-000001/_open"))
    assert future.result(30).dead == ()
    assert bench.sink.count(bench.index) == 3


def test_an_alias_that_became_ambiguous_stops(bench: Bench) -> None:
    """A second index under the alias: an operator has to act, no document is dead."""
    bench.http.ask("PUT", f"/{bench.index}-other", {"aliases": {bench.index: {}}})
    with pytest.raises(PreconditionError, match="no write index"):
        bench.send(bench.page(5, range(3)))
    with pytest.raises(PreconditionError, match="alias of 2 indices"):
        bench.sink.uuids()
    bench.http.ask("DELETE", f"/{bench.index}-other")
    assert bench.send(bench.page(5, range(3))).dead == ()


def test_A16_one_bad_action_among_many_is_found(bench: Bench) -> None:
    """An id over 512 bytes refuses the request as a whole; halving finds the one to blame."""
    page = bench.page(5, range(33))
    long_id = "x" * 513
    page = replace(page, body=page.body.replace(b'"_id": "20"', f'"_id":"{long_id}"'.encode()))
    ack = bench.send(page)
    assert [letter.id for letter in ack.dead] == [long_id]
    assert "512" in ack.dead[0].reason
    assert ack.retried
    assert bench.sink.count(bench.index) == 32
    assert bench.sink.dead_letters()[0] == 1


def test_A16_a_value_that_does_not_fit_its_field_is_dead(bench: Bench) -> None:
    """Item by item, in one request: nothing is sent twice."""
    page = bench.page(5, range(10))
    page = replace(page, body=page.body.replace(b'"n": 4,', b'"n": "four",'))
    ack = bench.send(page)
    assert [letter.id for letter in ack.dead] == ["4"]
    assert not ack.retried
    assert len(bench.sent) == 1
    assert bench.sink.count(bench.index) == 9


def test_a_page_counts_only_with_its_dead_letters(
    elasticsearch_url: str, index_prefix: str
) -> None:
    """While dead letters can not be stored, the page is not acknowledged."""
    bench = Bench(elasticsearch_url, index_prefix, deadline_seconds=0.5)
    bench.prepare()
    block = f"/{index_prefix}dead/_settings"
    bench.http.ask("PUT", block, {"index.blocks.write": True})
    page = bench.page(5, range(3))
    page = replace(page, body=page.body.replace(b'"n": 1,', b'"n": "one",'))
    with pytest.raises(PageExpired):
        bench.send(page)
    bench.http.ask("PUT", block, {"index.blocks.write": None})
    ack = bench.send(replace(page, read_at_seconds=time.monotonic()))
    assert [letter.id for letter in ack.dead] == ["1"]
    assert bench.sink.dead_letters()[0] == 1
    bench.close()


def test_a_broken_document_is_dead_alone(bench: Bench) -> None:
    """A document that is no JSON does not take its neighbours with it."""
    page = bench.page(5, range(10))
    page = replace(page, body=page.body.replace(b'{"n": 4, "t": "x"}', b'{"n": 4'))
    assert [letter.id for letter in bench.send(page).dead] == ["4"]
    assert bench.sink.count(bench.index) == 9


NO_NAMES = ["Upper", "-a", "_a", "+a", "a b", "a,b", "a*", "a#", ".", "x" * 250]


@pytest.mark.parametrize("name", NO_NAMES)
def test_names_that_no_index_can_have_are_refused(elasticsearch_url: str, name: str) -> None:
    """With a clear error, before anything is asked of the server."""
    sink = ElasticsearchSink(ElasticsearchSettings(elasticsearch_url))
    with pytest.raises(UsageError, match="can not be the name of an index"):
        sink.prepare([Document("t", name)], {name: SCHEMA})
    sink.close()


@pytest.mark.parametrize("column", ["_id", "_source", " ", ".a", "a..b", "_primary_term", "n.x"])
def test_columns_that_no_index_can_hold_are_refused(bench: Bench, column: str) -> None:
    """They would make a dead letter of every row."""
    schema = replace(SCHEMA, columns=(*SCHEMA.columns, Column(column, "int8")))
    with pytest.raises(PreconditionError, match="can not be a field"):
        bench.sink.prepare([bench.document], {bench.index: schema})


@pytest.mark.parametrize("column", ["a.b", "_a", "a b", "é", '"', "*", "a\nb", "1", "@t", "x" * 63])
def test_odd_columns_are_held(
    elasticsearch_url: str, index_prefix: str, column: str
) -> None:
    """Any other name works, and the document has it as it is."""
    bench = Bench(elasticsearch_url, index_prefix)
    schema = replace(SCHEMA, columns=(*SCHEMA.columns, Column(column, "int8")))
    bench.sink.prepare([bench.document], {bench.index: schema})
    page = bench.page(5, range(1))
    body = page.body.replace(b'"t": "x"', f"{json.dumps(column)}: 1".encode())
    assert bench.send(replace(page, body=body)).dead == ()
    found = bench.http.ask("GET", f"/{quoted(bench.index)}/_source/0").value()
    assert found == {"n": 0, column: 1}
    bench.close()


def test_adopting_leaves_an_index_as_it_is(bench: Bench) -> None:
    """Mapping and content stay; only deletes are remembered longer, if they were not."""
    name = f"{bench.index}-own"
    mapping = {"properties": {"n": {"type": "keyword"}}}
    bench.http.ask("PUT", f"/{name}", {"mappings": mapping})
    bench.sink.prepare([Document("t", name)], {name: SCHEMA})
    found = bench.http.ask("GET", f"/{name}").value()[name]
    assert found["mappings"] == mapping
    assert found["settings"]["index"]["gc_deletes"] == "300s"
    bench.http.ask("PUT", f"/{name}/_settings", {"index.gc_deletes": "1h"})
    states = bench.sink.prepare([Document("t", name)], {name: SCHEMA})
    found = bench.http.ask("GET", f"/{name}").value()[name]
    assert found["settings"]["index"]["gc_deletes"] == "1h"
    assert not states[name].created


def test_an_index_made_by_a_delete_is_given_the_mapping(bench: Bench) -> None:
    """Elasticsearch makes one for a delete with a version, although the name must be an alias."""
    http, name = bench.http, f"{bench.index}-wiped"
    document = Document("t", name)
    assert bench.sink.prepare([document], {name: SCHEMA})[name].created
    mapping = http.ask("GET", f"/{name}/_mapping").value()[f"{name}-000001"]
    http.ask("DELETE", f"/{name}-000001")
    body = b'{"delete":{"_id":"1","version":7,"version_type":"external_gte"}}\n'
    bench.sink.submit(Page(name, body, 1, 7)).exception(30)
    assert http.ask("GET", f"/{name}/_mapping").value() == {name: {"mappings": {}}}
    assert not bench.sink.prepare([document], {name: SCHEMA})[name].created
    assert http.ask("GET", f"/{name}/_mapping").value()[name] == mapping


def test_an_index_that_acknowledges_too_early_is_named(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Ours are durable whatever a template says; one that was there before is warned of."""
    name, made = f"{bench.index}-async", f"{bench.index}-made"
    late = {"index.translog.durability": "async"}
    bench.http.ask("PUT", f"/{name}", {"settings": late})
    template = {"index_patterns": [f"{made}*"], "template": {"settings": late}}
    bench.http.ask("PUT", f"/_index_template/{made}", template)
    try:
        bench.sink.prepare([Document("t", made)], {made: SCHEMA})
        bench.sink.prepare([Document("t", made)], {made: SCHEMA})
    finally:
        bench.http.ask("DELETE", f"/_index_template/{made}")
    assert "on disk" not in caplog.text
    bench.sink.prepare([Document("t", name)], {name: SCHEMA})
    assert f"index {name} acknowledges writes before they are on disk" in caplog.text
    (found,) = bench.http.ask("GET", f"/{made}").value().values()
    assert found["settings"]["index"]["translog"]["durability"] == "request"


@pytest.mark.parametrize(
    "alias",
    [{"filter": {"term": {"n": 1}}}, {"routing": "1"}, {"is_write_index": False}],
    ids=["filter", "routing", "read-only"],
)
def test_an_alias_that_is_no_plain_name_is_refused(bench: Bench, alias: dict[str, object]) -> None:
    """A filter hides documents from a sweep, a routing doubles ids."""
    name = f"{bench.index}-alias"
    bench.http.ask("PUT", f"/{name}-1", {"aliases": {name: alias}})
    with pytest.raises(PreconditionError, match="is an alias with"):
        bench.sink.prepare([Document("t", name)], {name: SCHEMA})


def test_a_name_that_is_taken_without_the_alias_is_passed_over(bench: Bench) -> None:
    """An older numbered index stays untouched, the next number is used."""
    name = f"{bench.index}-again"
    bench.http.ask("PUT", f"/{name}-000001")
    assert bench.sink.prepare([Document("t", name)], {name: SCHEMA})[name].created
    assert list(bench.http.ask("GET", f"/{name}").value()) == [f"{name}-000002"]


def test_nobody_at_home_is_one_clear_line_without_secrets() -> None:
    """An unreachable sink is told by its address only."""
    sink = ElasticsearchSink(ElasticsearchSettings("http://user:s3cret@127.0.0.1:9"))
    with pytest.raises(SinkUnavailable, match=r"127\.0\.0\.1:9") as caught:
        sink.connect()
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    sink.close()
