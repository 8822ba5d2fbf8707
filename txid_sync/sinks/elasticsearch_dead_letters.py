"""Dead letters: documents that are refused for good, kept in an index of their own.

One document per (index, id), written with the version that was refused, so that a later refusal
replaces it and a repeated one changes nothing.  It vanishes when the same id is applied.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from txid_sync.errors import PreconditionError, SinkUnavailable
from txid_sync.model import Ack, DeadLetter, Page
from txid_sync.sinks.bulk import BULK_FIELDS, actions_of
from txid_sync.sinks.elasticsearch_delivery import Delivery, Patience
from txid_sync.sinks.elasticsearch_http import Http, quoted
from txid_sync.sinks.elasticsearch_indices import create_plain

_log = logging.getLogger(__name__)

MAX_REMEMBERED = 10_000
_NO_INDEX = "index_not_found_exception"

_FIELDS = {
    "document": {"type": "keyword"},
    "id": {"type": "keyword", "ignore_above": 8191},
    "version": {"type": "long"},
    "reason": {"type": "text"},
    "at": {"type": "date"},
}


class DeadLetters:
    """Keeps, lists and removes dead letters; used by many threads."""

    def __init__(
        self, http: Http, index: str, deadline_seconds: float, patience: Patience
    ) -> None:
        self._http = http
        self._index = index
        self._path = f"/{quoted(index)}/_bulk?filter_path={BULK_FIELDS}"
        self._deadline_seconds = deadline_seconds
        self._patience = patience
        self._lock = threading.Lock()
        self._ids: dict[str, set[str]] = {}
        self._exists = False

    def open(self) -> None:
        """Learn which dead letters are kept, up to MAX_REMEMBERED of them."""
        total, letters = self.listing(MAX_REMEMBERED)
        ids: dict[str, set[str]] = {}
        for letter in letters:
            ids.setdefault(letter.document, set()).add(letter.id)
        with self._lock:
            self._ids = ids
        if total > MAX_REMEMBERED:
            _log.warning(
                "%d dead letters are kept in %s; those beyond %d stay when they become obsolete",
                total,
                self._index,
                MAX_REMEMBERED,
            )

    def create_index(self) -> None:
        """Make the index if it is not there."""
        if not self._exists:
            create_plain(self._http, self._index, _FIELDS)
            self._exists = True

    def settle(self, page: Page, applied: Ack) -> Ack:
        """Keep what was refused, remove what is obsolete; gives the Ack with all dead letters."""
        dead = (*page.dead, *applied.dead)
        if dead:
            self._keep(page, dead)
        obsolete = self._obsolete(page, {letter.id for letter in dead})
        if obsolete:
            lines = [_line("delete", page.document, i, page.version) for i in obsolete]
            self._write(page, lines, len(lines))
            self._forget(page.document, obsolete)
        return replace(applied, dead=dead)

    def listing(self, limit: int) -> tuple[int, Sequence[DeadLetter]]:
        """How many there are, and the oldest `limit` (at most 10,000) of them."""
        where = f"/{quoted(self._index)}"
        if self._http.ask("POST", f"{where}/_refresh", allowed=[404]).status == 404:
            return 0, []
        query = {
            "size": min(limit, MAX_REMEMBERED),
            "track_total_hits": True,
            "sort": [{"at": {"order": "asc", "unmapped_type": "date"}}],
        }
        hits = self._http.ask("POST", f"{where}/_search", query).value()["hits"]
        sources = (hit["_source"] for hit in hits["hits"])
        letters = [DeadLetter(s["document"], s["id"], s["version"], s["reason"]) for s in sources]
        return int(hits["total"]["value"]), letters

    def kept(self, document: str, ids: Sequence[str]) -> Mapping[str, DeadLetter]:
        """The dead letters of these ids, as they are now."""
        if not ids:
            return {}
        path = f"/{quoted(self._index)}/_mget"
        names = [_name(document, id) for id in ids]
        answer = self._http.ask("POST", path, {"ids": names}, allowed=[404])
        if answer.status == 404:
            return {}
        entries = answer.value()["docs"]
        for entry in entries:
            if entry.get("error", {}).get("type", _NO_INDEX) != _NO_INDEX:
                raise SinkUnavailable(f"index {self._index} does not give a dead letter")
        sources = [entry["_source"] for entry in entries if entry.get("found")]
        return {
            s["id"]: DeadLetter(s["document"], s["id"], s["version"], s["reason"])
            for s in sources
        }

    def _keep(self, page: Page, dead: Sequence[DeadLetter]) -> None:
        self.create_index()
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        lines = []
        for letter in dead:
            value = {
                "document": letter.document,
                "id": letter.id,
                "version": letter.version,
                "reason": letter.reason,
                "at": at,
            }
            lines.append(_line("index", letter.document, letter.id, letter.version))
            lines.append(json.dumps(value))
        self._write(page, lines, len(dead))
        with self._lock:
            room = MAX_REMEMBERED - sum(map(len, self._ids.values()))
            self._ids.setdefault(page.document, set()).update(x.id for x in dead[: max(0, room)])

    def _obsolete(self, page: Page, dead_now: set[str]) -> Sequence[str]:
        """Remembered ids of this document that the page has just written or deleted."""
        with self._lock:
            known = self._ids.get(page.document, set()) - dead_now
        if not known or not page.documents:
            return ()
        return sorted(known.intersection(action.id for action in actions_of(page.body)))

    def _forget(self, document: str, ids: Sequence[str]) -> None:
        with self._lock:
            self._ids.get(document, set()).difference_update(ids)

    def _write(self, page: Page, lines: Sequence[str], actions: int) -> None:
        """Write to the index of dead letters, with the deadline of the page they come from."""
        body = "".join(f"{line}\n" for line in lines).encode()
        letters = replace(page, document=self._index, body=body, documents=actions, dead=())
        delivery = Delivery(
            self._http, self._path, letters, self._deadline_seconds, self._patience
        )
        refused = delivery.run().dead
        if refused:
            raise PreconditionError(
                f"index {self._index} takes no dead letters: {refused[0].reason}",
                "delete or mend that index; it is made again",
            )


def _line(operation: str, document: str, letter_id: str, version: int) -> str:
    head = {"_id": _name(document, letter_id), "version": version, "version_type": "external_gte"}
    return json.dumps({operation: head})


def _name(document: str, letter_id: str) -> str:
    """The id of a dead letter's own document."""
    return hashlib.sha256(json.dumps([document, letter_id]).encode()).hexdigest()
