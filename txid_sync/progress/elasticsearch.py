"""Progress in an index of the sink: one document per pipeline, saved by compare-and-set.

Notes are documents beside it, simply overwritten.

The fence is the document's `_seq_no` and `_primary_term`: a save that names an old one is refused.
A save whose answer was lost may have been stored all the same; the next one is then refused, finds
its own text stored, and goes on from there.  Anything else that is found there was another
instance's.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from txid_sync.backoff import delay_seconds
from txid_sync.errors import PreconditionError, SinkUnavailable, TakenOver
from txid_sync.progress.base import NOTES, REPAIR, Fence, Progress, ProgressStore
from txid_sync.sinks.elasticsearch_http import Answer, ElasticsearchSettings, Http, quoted
from txid_sync.sinks.elasticsearch_indices import create_plain

_T = TypeVar("_T")

_MAX_ID_BYTES = 512
_LEAST_TIMEOUT_SECONDS = 10.0
_FIELDS = {
    "pipeline": {"type": "keyword"},
    "saved_at": {"type": "date"},
    "progress": {"type": "keyword", "index": False, "doc_values": False},
}


class ElasticsearchProgress(ProgressStore):
    """Keeps progress beside the documents; for one thread."""

    def __init__(
        self,
        settings: ElasticsearchSettings,
        index: str = "txid-sync-progress",
        deadline_seconds: float = 10.0,
    ) -> None:
        self._http = Http(settings, 1, max(_LEAST_TIMEOUT_SECONDS, deadline_seconds))
        self._index = index
        self._deadline_seconds = deadline_seconds
        self._unanswered: dict[str, set[str]] = {}
        self._pause = threading.Event()

    def load(self, pipeline: str) -> tuple[Progress, Fence] | None:
        """Read what is stored, in real time."""
        found = self._read(pipeline)
        return None if found is None else (Progress.from_json(found[0]), found[1])

    def save(self, pipeline: str, progress: Progress, fence: Fence | None) -> Fence:
        """Store; raises TakenOver, or SinkUnavailable if it is not known whether it is stored."""
        text = progress.to_json()
        if fence is None:
            self._trying(lambda: create_plain(self._http, self._index, _FIELDS))
        while True:
            answer = self._trying(partial(self._write, pipeline, text, fence))
            if answer.status != 409:
                self._unanswered.pop(pipeline, None)
                return _fence(answer.value())
            stored, fence = self._own_attempt(pipeline, text)
            if stored == text:
                return fence

    def delete(self, pipeline: str) -> None:
        """Remove the documents."""
        for name in (pipeline, *(_note(pipeline, note) for note in (*NOTES, REPAIR))):
            self._remove(name)

    def note(self, pipeline: str, name: str, text: str) -> None:
        """Keep a text in a document of its own."""
        id = _note(pipeline, name)
        if not text:
            self._remove(id)
            return
        value = _value(pipeline, text)
        self._trying(lambda: create_plain(self._http, self._index, _FIELDS))
        self._trying(lambda: self._http.ask("PUT", self._path(id, "_doc"), value))

    def recall(self, pipeline: str, name: str) -> str:
        """What was kept, in real time."""
        found = self._trying(lambda: self._read(_note(pipeline, name)))
        return found[0] if found else ""

    def _remove(self, name: str) -> None:
        path = self._path(name, "_doc")
        self._trying(lambda: self._http.ask("DELETE", path, allowed=[404]))

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _write(self, pipeline: str, text: str, fence: Fence | None) -> Answer:
        """One attempt, answered 2xx or 409."""
        if fence is None:
            path = self._path(pipeline, "_create")
        else:
            condition = f"if_seq_no={fence[0]}&if_primary_term={fence[1]}"
            path = f"{self._path(pipeline, '_doc')}?{condition}"
        try:
            return self._http.ask("PUT", path, _value(pipeline, text), allowed=[409])
        except SinkUnavailable:
            self._unanswered.setdefault(pipeline, set()).add(text)
            raise

    def _own_attempt(self, pipeline: str, text: str) -> tuple[str, Fence]:
        """What is stored, if it came from here; raises TakenOver if not."""
        found = self._trying(lambda: self._read(pipeline))
        if found is not None and found[0] in {text, *self._unanswered.get(pipeline, ())}:
            return found
        what = "saved" if found else "deleted"
        raise TakenOver(
            f"another instance {what} the progress of pipeline {pipeline!r}",
            "let only one instance run per pipeline; start this one again when the other is down",
        )

    def _read(self, pipeline: str) -> tuple[str, Fence] | None:
        answer = self._http.ask("GET", self._path(pipeline, "_doc"), allowed=[404])
        if answer.status == 404:
            return None
        value = answer.value()
        return str(value["_source"].get("progress", "")), _fence(value)

    def _trying(self, attempt: Callable[[], _T]) -> _T:
        """Try until the deadline; raises the last SinkUnavailable."""
        until = time.monotonic() + self._deadline_seconds
        number = 0
        while True:
            try:
                return attempt()
            except SinkUnavailable:
                delay = delay_seconds(number, random.random(), 0.1, 2.0)
                if time.monotonic() + delay >= until:
                    raise
                self._pause.wait(delay)
                number += 1

    def _path(self, pipeline: str, endpoint: str) -> str:
        if not pipeline or len(pipeline.encode()) > _MAX_ID_BYTES:
            raise PreconditionError(f"a pipeline's name must have 1 to {_MAX_ID_BYTES} bytes")
        return f"/{quoted(self._index)}/{endpoint}/{quoted(pipeline)}"


def _fence(value: dict[str, Any]) -> Fence:
    return int(value["_seq_no"]), int(value["_primary_term"])


def _note(pipeline: str, name: str) -> str:
    """The id of a note; no pipeline of the command line has such a name."""
    return f":{name}:{hashlib.sha256(pipeline.encode()).hexdigest()}"


def _value(pipeline: str, text: str) -> dict[str, str]:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"pipeline": pipeline, "saved_at": at, "progress": text}
