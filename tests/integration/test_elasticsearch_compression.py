"""Compressed bodies are understood by the engine."""

from __future__ import annotations

from contextlib import closing

from txid_sync.model import Column, Document, Page, Schema
from txid_sync.sinks.elasticsearch import ElasticsearchSink
from txid_sync.sinks.elasticsearch_http import ElasticsearchSettings, Http

COUNT = 500


def test_documents_of_a_compressed_page_arrive(elasticsearch_url: str, index_prefix: str) -> None:
    """All of them, with their versions; one that is refused is told by its place."""
    index = f"{index_prefix}compressed"
    settings = ElasticsearchSettings(elasticsearch_url, compress="always")
    head = '{{"index":{{"_id":"{0}","version":5,"version_type":"external_gte"}}}}\n'
    lines = [head.format(n) + f'{{"n":{n},"t":"é"}}\n' for n in range(COUNT)]
    lines[7] = head.format(7) + '{"n":{"no":"number"}}\n'
    page = Page(index, "".join(lines).encode(), COUNT, 5)
    with (
        closing(Http(settings, 1, 60.0)) as http,
        closing(ElasticsearchSink(settings, dead_letter_index=f"{index_prefix}dead")) as sink,
    ):
        columns = Column("n", "int4", "base", False), Column("t", "text", "base", False)
        sink.prepare([Document("t", index)], {index: Schema(columns, ("n",), "1", "1")})
        ack = sink.submit(page).result()
        assert [letter.id for letter in ack.dead] == ["7"]
        http.ask("POST", f"/{index}/_refresh")
        assert http.ask("GET", f"/{index}/_count").value()["count"] == COUNT - 1
        found = http.ask("GET", f"/{index}/_doc/499").value()
        assert (found["_version"], found["_source"]) == (5, {"n": 499, "t": "é"})
