"""Settings of the indices that are made, each of which ends a mutant of the list."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from txid_sync.model import Column, Document, Schema
from txid_sync.sinks.elasticsearch import ElasticsearchSettings, ElasticsearchSink
from txid_sync.sinks.elasticsearch_http import Answer

SCHEMA = Schema((Column("n", "int8"),), ("n",), "1", "1")


class Cluster:
    """Answers what `prepare` asks, and keeps what it creates."""

    def __init__(self) -> None:
        self.created: dict[str, dict[str, dict[str, object]]] = {}

    def send(
        self, method: str, path: str, body: bytes | None = None, media_type: str = ""
    ) -> Answer:
        """One request."""
        assert media_type or method
        if method == "PUT":
            self.created[path.strip("/")] = json.loads(body or b"{}")
            return Answer(200, b"{}")
        if method == "HEAD":
            return Answer(404, b"")
        found = {
            name: {
                "aliases": value["aliases"],
                "settings": {"index": {"uuid": "u", "gc_deletes": "9d"}},
            }
            for name, value in self.created.items()
            if "aliases" in value
        }
        return Answer(200, json.dumps(found).encode())


@pytest.mark.parametrize(("deadline_seconds", "least"), [(1.0, 300), (60.0, 300), (120.0, 600)])
def test_deletes_are_remembered_for_several_deadlines(
    deadline_seconds: float, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new index remembers deletes for five minutes at the least, and for five deadlines."""
    cluster = Cluster()
    settings = ElasticsearchSettings("http://localhost:1")
    with closing(ElasticsearchSink(settings, deadline_seconds=deadline_seconds)) as sink:
        monkeypatch.setattr(sink._http, "send", cluster.send)
        sink.prepare([Document("t", "things")], {"things": SCHEMA})
    made = cluster.created["things-000001"]
    assert made["settings"]["index.gc_deletes"] == f"{least}s"
    assert made["settings"]["index.translog.durability"] == "request"
