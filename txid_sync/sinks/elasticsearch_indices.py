"""Indices of Elasticsearch and OpenSearch: names, looking them up, creating and adopting them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from txid_sync.errors import PreconditionError, UsageError
from txid_sync.mapping import index_mapping, index_settings
from txid_sync.model import Document, Schema
from txid_sync.sinks import elasticsearch_loading as loading
from txid_sync.sinks.base import IndexState
from txid_sync.sinks.elasticsearch_http import Http, quoted, refused

_log = logging.getLogger(__name__)

_FIELDS = "*.aliases,*.data_stream," + ",".join(
    f"*.settings.index.{setting}"
    for setting in ("uuid", "gc_deletes", "translog.durability", "refresh_interval")
)
# What is acknowledged is on disk; the default, which a template may have changed.
_DURABLE = {"index.translog.durability": "request"}
_NAMES_PER_REQUEST = 20
_MAX_NAME_BYTES = 245
_FORBIDDEN = '\\/*?"<>| ,#:'
_DEFAULT_GC_SECONDS = 60.0
_TIME_UNITS = {
    "nanos": 1e-9, "micros": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0,
}  # fmt: skip
_RACE_LOST = ("resource_already_exists_exception", "invalid_alias_name_exception")


@dataclass(frozen=True, slots=True)
class Index:
    """An index that was found under a name: its own name, uuid, and how it was found."""

    name: str
    uuid: str
    alias: bool
    gc_deletes_seconds: float
    durable: bool = True
    refresh_interval: str = ""


def check_index_name(name: str) -> None:
    """Raise UsageError for a name that no index can have."""
    if not name or name in (".", ".."):
        problem = "it is empty or only dots"
    elif name != name.lower():
        problem = "it must be lower case"
    elif name[0] in "-_+":
        problem = f"it must not begin with {name[0]!r}"
    elif any(c in _FORBIDDEN or c.isspace() for c in name):
        problem = f"it must have no space and none of {_FORBIDDEN.replace(' ', '')}"
    elif len(name.encode()) > _MAX_NAME_BYTES:
        problem = f"it must have at most {_MAX_NAME_BYTES} bytes"
    else:
        return
    raise UsageError(f"{name!r} can not be the name of an index: {problem}", "see `index`")


def find_indices(http: Http, names: Sequence[str]) -> Mapping[str, Index]:
    """What is found under each of these names; names without an index are left out.

    Raises PreconditionError for data streams, and for aliases that are no plain second name of
    exactly one index.
    """
    found: dict[str, Index] = {}
    for at in range(0, len(names), _NAMES_PER_REQUEST):
        some = names[at : at + _NAMES_PER_REQUEST]
        path = "/" + ",".join(map(quoted, some))
        answer = http.ask("GET", f"{path}?ignore_unavailable=true&filter_path={_FIELDS}")
        indices = answer.value()
        for name in some:
            mine = {own: i for own, i in indices.items() if _answers_to(own, i, name)}
            if mine:
                found[name] = _the_one(name, mine)
    return found


def _answers_to(own_name: str, index: Mapping[str, Any], name: str) -> bool:
    return name in (own_name, index.get("data_stream")) or name in index.get("aliases", {})


def _the_one(name: str, indices: Mapping[str, Mapping[str, Any]]) -> Index:
    own_name, index = next(iter(indices.items()))
    if any(i.get("data_stream") for i in indices.values()):
        raise PreconditionError(
            f"{name!r} belongs to a data stream, which takes no versions", "choose another `index`"
        )
    if len(indices) > 1:
        raise PreconditionError(
            f"{name!r} is an alias of {len(indices)} indices: {', '.join(sorted(indices))}",
            "it must be an alias of one index, or an index",
        )
    alias = index.get("aliases", {}).get(name, {})
    if set(alias) - {"is_write_index", "is_hidden"} or alias.get("is_write_index") is False:
        raise PreconditionError(
            f"{name!r} is an alias with a filter, a routing or without writes",
            "it must be a plain alias of one index, or an index",
        )
    settings = index["settings"]["index"]
    gc = seconds_of(settings["gc_deletes"]) if "gc_deletes" in settings else _DEFAULT_GC_SECONDS
    durable = settings.get("translog", {}).get("durability", "request").lower() == "request"
    refresh_interval = settings.get("refresh_interval", "")
    return Index(own_name, settings["uuid"], name != own_name, gc, durable, refresh_interval)


def seconds_of(time_value: str) -> float:
    """Seconds of a time value as in settings (`5m`, `300s`, `-1`); 0 if it is none.

    >>> seconds_of("5m"), seconds_of("1500ms"), seconds_of("-1")
    (300.0, 1.5, 0.0)
    """
    text = time_value.strip().lower()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = _TIME_UNITS.get(text[len(digits) :], 0.0)
    try:
        return max(0.0, float(digits) * unit)
    except ValueError:
        return 0.0


def prepare_index(
    http: Http, document: Document, schema: Schema, gc_deletes_seconds: int
) -> tuple[Index, IndexState]:
    """Find the document's index, or create it with its alias; safe beside a second creator."""
    check_index_name(document.index)
    mapping = index_mapping(schema, document)
    created = False
    for number in range(1, 1000):
        index = find_indices(http, [document.index]).get(document.index)
        if index is not None:
            if not created:
                _adopt(http, index, gc_deletes_seconds)
                _give_mapping(http, index, mapping)
            return index, IndexState(index.uuid, created)
        gc_deletes = {"index.gc_deletes": f"{gc_deletes_seconds}s"}
        settings = index_settings(schema, document) | _DURABLE | gc_deletes
        created = _create(
            http,
            f"{document.index}-{number:06d}",
            {"aliases": {document.index: {}}, "settings": settings, "mappings": mapping},
        )
    raise PreconditionError(
        f"no free name for the index of {document.index!r}: 999 numbered ones exist",
        "delete old ones",
    )


def _create(http: Http, name: str, value: Mapping[str, object]) -> bool:
    """Create an index; False if the name, or that of its alias, is taken."""
    answer = http.ask("PUT", f"/{quoted(name)}", value, allowed=[400])
    if answer.status != 400:
        _log.info("created index %s", name)
        return True
    kind, reason = answer.error
    if kind not in _RACE_LOST:
        raise refused(f"to create index {name}", answer.status, kind, reason)
    return False


def _adopt(http: Http, index: Index, gc_deletes_seconds: int) -> None:
    """Let an existing index remember deletes long enough, and forget a load that was cut short; all
    else of it stays as it is."""
    if index.refresh_interval == loading.LOADING:
        loading.load_ends(http, index.name)
    if not index.durable:
        _log.warning(
            "index %s acknowledges writes before they are on disk: a crash of the sink may lose "
            "some of them unnoticed; set index.translog.durability to request",
            index.name,
        )
    if index.gc_deletes_seconds >= gc_deletes_seconds:
        return
    value = {"index.gc_deletes": f"{gc_deletes_seconds}s"}
    answer = http.send_json("PUT", f"/{quoted(index.name)}/_settings", value)
    if answer.status != 200:
        _log.warning(
            "index %s remembers deletes for %g s only and this could not be changed (%s); set "
            "index.gc_deletes to %d s",
            index.name,
            index.gc_deletes_seconds,
            answer.error[0] or answer.status,
            gc_deletes_seconds,
        )


def _give_mapping(http: Http, index: Index, mapping: Mapping[str, object]) -> None:
    """An index without any mapping is nobody's yet: Elasticsearch makes one for a delete with a
    version, even under a name that must be an alias, when the index is deleted beneath us.  It has
    that very name, so that all others need not be asked."""
    if index.alias:
        return
    path = f"/{quoted(index.name)}/_mapping"
    found = http.ask("GET", path, allowed=[404])
    if found.status == 404 or found.value()[index.name]["mappings"]:
        return
    answer = http.send_json("PUT", path, mapping)
    if answer.status == 200:
        _log.info("index %s had no mapping and was given that of its document", index.name)
    else:
        _log.warning(
            "index %s has no mapping and could not be given that of its document (%s)",
            index.name, answer.error[0] or answer.status,
        )  # fmt: skip


def create_plain(http: Http, name: str, properties: Mapping[str, object]) -> None:
    """Create an index of our own with these fields, if it is not there."""
    check_index_name(name)
    if http.send("HEAD", f"/{quoted(name)}").status == 200:
        return
    mapping = {"dynamic": False, "properties": properties}
    _create(http, name, {"settings": _DURABLE, "mappings": mapping})
