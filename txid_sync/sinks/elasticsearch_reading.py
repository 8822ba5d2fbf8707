"""Documents of an index as they are: by id in real time, and all ids page by page.

Nothing is held open between two requests, so that a reader may be as slow as it likes.

>>> text = '{"docs": [{"_id": "1", "found": true, "_version": 7, "_source": {"a" : 1.0}}]}'
>>> [(entry["_id"], source) for entry, source in documents_of(text)]
[('1', '{"a" : 1.0}')]
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from txid_sync.errors import Discontinuity, PreconditionError, SinkUnavailable
from txid_sync.model import Held
from txid_sync.sinks.elasticsearch_http import Answer, Http, quoted

MAX_LISTED = 5000  # an index gives 10,000 at once unless set otherwise
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


def fetch(http: Http, index: str, ids: Sequence[str]) -> Mapping[str, Held]:
    """The documents with these ids, from the translog if they are not searchable yet."""
    if not ids:
        return {}
    answer = _found(http.ask("POST", f"/{quoted(index)}/_mget", {"ids": list(ids)}, [404]), index)
    held = {}
    try:
        for entry, source in documents_of(answer.body.decode()):
            if "error" in entry:
                if entry["error"].get("type") == "index_not_found_exception":
                    raise Discontinuity(f"index {index} is gone", document=index)
                raise SinkUnavailable(f"index {index} does not give a document")
            if entry["found"]:
                if not source:
                    raise PreconditionError(
                        f"index {index} keeps no _source", "its documents cannot be compared"
                    )
                held[entry["_id"]] = Held(entry["_version"], source.encode())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = type(error).__name__
        raise SinkUnavailable(f"the documents of {index} cannot be read: {what}") from None
    return held


def documents_of(text: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Each entry of an answer to `_mget`, with the text of its source as it stands there.

    Raises ValueError for anything else.
    """
    start = text.find('"docs"')
    at = text.find("[", start) if start >= 0 else -1
    if at < 0:
        raise ValueError("no docs")
    at = _skip(text, at + 1)
    while text[at : at + 1] == "{":
        entry: dict[str, Any] = {}
        source = ""
        at = _skip(text, at + 1)
        while text[at : at + 1] == '"':
            name, at = _DECODER.raw_decode(text, at)
            begin = _skip(text, _skip(text, at) + 1)
            entry[name], at = _DECODER.raw_decode(text, begin)
            if name == "_source":
                source = text[begin:at]
            at = _next(text, at)
        yield entry, source
        at = _next(text, at + 1)
    if text[at : at + 1] != "]":
        raise ValueError("the answer has no end")


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def _next(text: str, at: int) -> int:
    """The place after a comma, or that of what stands there instead of one."""
    at = _skip(text, at)
    return _skip(text, at + 1) if text[at : at + 1] == "," else at


def listing(
    http: Http, index: str, place: str, limit: int
) -> tuple[Sequence[tuple[str, int]], str]:
    """Live (id, version) in the order of the sequence number of their last write.

    A place is `NEXT/LAST`: numbers up to LAST existed at the first call.  Every shard counts by
    itself, so several documents may share a number: a page never ends between them.
    """
    path = f"/{quoted(index)}/_search?allow_partial_search_results=false"
    if not place:
        _whole(http.ask("POST", f"/{quoted(index)}/_refresh", allowed=[404]), index)
        newest = {"size": 1, "_source": False, "seq_no_primary_term": True,
                  "sort": [{"_seq_no": "desc"}]}  # fmt: skip
        hits = _whole(http.ask("POST", path, newest, [404]), index)["hits"]["hits"]
        if not hits:
            return (), ""
        place = f"0/{hits[0]['_seq_no']}"
    first, last = (int(number) for number in place.split("/"))
    limit = min(limit, MAX_LISTED)
    while True:
        query = {
            "size": limit, "_source": False, "version": True, "seq_no_primary_term": True,
            "track_total_hits": False, "sort": [{"_seq_no": "asc"}],
            "query": {"range": {"_seq_no": {"gte": first, "lte": last}}},
        }  # fmt: skip
        hits = _whole(http.ask("POST", path, query, [404]), index)["hits"]["hits"]
        if len(hits) < limit:
            return [(hit["_id"], hit["_version"]) for hit in hits], ""
        end = hits[-1]["_seq_no"]
        chosen = [(hit["_id"], hit["_version"]) for hit in hits if hit["_seq_no"] < end]
        if chosen:
            return chosen, f"{end}/{last}"
        limit *= 2  # so many shards share one number


def _found(answer: Answer, index: str) -> Answer:
    if answer.status == 404:
        raise Discontinuity(f"index {index} is gone", document=index)
    return answer


def _whole(answer: Answer, index: str) -> dict[str, Any]:
    """An answer that speaks for all shards; anything less would hide documents."""
    value = _found(answer, index).value()
    if value["_shards"]["failed"] or value.get("timed_out"):
        raise SinkUnavailable("not all shards of an index answer", "is the cluster green?")
    return value
