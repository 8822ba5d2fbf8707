"""The points of `check` that concern the sink."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from txid_sync.check import Point, guarded, ok, warning
from txid_sync.cursor import Cursor
from txid_sync.model import Document
from txid_sync.progress.base import Progress
from txid_sync.settings import Config, SinkSettings
from txid_sync.sinks.elasticsearch import check_version, server_version
from txid_sync.sinks.elasticsearch_http import Http
from txid_sync.sinks.elasticsearch_indices import find_indices
from txid_sync.snapshot import Snapshot
from txid_sync.wiring import close_store, elasticsearch_settings, make_sink, make_store

TIMEOUT_SECONDS = 10.0


def sink_points(config: Config) -> Iterator[Point]:
    """Every point of the sink."""
    if config.sink is None:
        return iter([warning("sink", "none: a run is a dry run", "write a [sink] section")])
    if config.sink.type == "discard":
        return iter([warning("sink", "documents are thrown away", "set [sink] type")])
    return guarded("sink", _sink_points(config, config.sink))


def _sink_points(config: Config, settings: SinkSettings) -> Iterator[Point]:
    with contextlib.closing(Http(elasticsearch_settings(settings), 1, TIMEOUT_SECONDS)) as http:
        version = server_version(http)
        check_version(version, http.where)
        yield ok("sink", f"{http.where} answers, version {version}")
        yield from guarded("sink rights", _writable(config, settings))
        for document in config.documents:
            name = f"document {document.name}: index"
            yield from guarded(name, _index(http, name, document))
    yield from guarded("dead letters", _dead_letters(config))


def _writable(config: Config, settings: SinkSettings) -> Iterator[Point]:
    """Store progress under another name and remove it again."""
    store, name = make_store(settings), f"{config.pipeline.name} check"
    try:
        store.save(name, Progress(Cursor.start(Snapshot.parse("3:3:")), {}), None)
        store.delete(name)
    finally:
        close_store(store)
    yield ok("sink rights", f"documents in {settings.progress_index} can be written and removed")


def _index(http: Http, name: str, document: Document) -> Iterator[Point]:
    found = find_indices(http, [document.index]).get(document.index)
    if found is None:
        yield ok(name, f"{document.index} will be created by the first run")
    else:
        alias = f" (alias of {found.name})" if found.alias else ""
        yield ok(name, f"{document.index}{alias}")


def _dead_letters(config: Config) -> Iterator[Point]:
    with contextlib.closing(make_sink(config.sink, config)) as sink:
        sink.connect()
        total, letters = sink.dead_letters(1)
    if not total:
        yield ok("dead letters", "none")
        return
    first = f", the first: {letters[0].document}/{letters[0].id}" if letters else ""
    yield warning("dead letters", f"{total} documents were refused{first}", "mend their rows")
