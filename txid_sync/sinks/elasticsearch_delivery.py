"""One page on its way: sent, split, and sent again until every action of it is settled.

What an answer means is decided in bulk.py; here it is acted upon.  Nothing that has succeeded is
sent again, except where a request as a whole was refused after a part of it may have been applied.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from txid_sync.backoff import delay_seconds
from txid_sync.errors import Discontinuity, PageExpired, PreconditionError, SinkUnavailable
from txid_sync.model import Ack, DeadLetter, Page
from txid_sync.sinks.bulk import (
    Action,
    AnswerError,
    Outcome,
    Refusal,
    actions_of,
    refusals,
    request_outcome,
)
from txid_sync.sinks.elasticsearch_http import NDJSON, Answer, Http, refused

_log = logging.getLogger(__name__)

_BLOCKED_BASE_SECONDS = 4.0
_WARN_EVERY_SECONDS = 60.0
_WHOLE_ATTEMPTS = 2
_TOO_LARGE = 413
_LEAST_BYTES = 16_384
_GROWTH = 1.02


class RequestSize:
    """How large a request may be for the sink to take it, learnt from what it refuses.

    Shared by all pages, so that one that comes after a refusal does not meet it again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.most_bytes = math.inf

    def refused(self, body_bytes: int) -> None:
        """A request of this size was too large, as a whole."""
        with self._lock:
            self.most_bytes = min(self.most_bytes, max(_LEAST_BYTES, body_bytes / 2))

    def passed(self, body_bytes: int) -> None:
        """A request was taken; near the bound that is a reason to try a little more."""
        with self._lock:
            if body_bytes > self.most_bytes / 2:
                self.most_bytes *= _GROWTH


class Patience:
    """Waits between attempts, ends all waiting at `close`, and warns once a minute."""

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._warned_at_seconds = -_WARN_EVERY_SECONDS

    def wait(self, seconds: float) -> None:
        """Wait; raises SinkUnavailable if the sink is closed before or meanwhile."""
        if self._closed.wait(seconds):
            raise SinkUnavailable("the sink was closed while requests were under way")

    def warn(self, reason: str) -> None:
        """Say that writes are blocked, unless that was said in the last minute."""
        now = time.monotonic()
        if now - self._warned_at_seconds >= _WARN_EVERY_SECONDS:
            self._warned_at_seconds = now
            _log.warning("the sink blocks writes, trying again slowly: %s", reason)

    def close(self) -> None:
        """End all waiting, now and later."""
        self._closed.set()


@dataclass(frozen=True, slots=True)
class _Batch:
    """Actions that are sent together: their bytes and how many they are."""

    body: bytes
    actions: int

    @classmethod
    def of(cls, actions: Sequence[Action]) -> _Batch:
        return cls(b"".join(action.data for action in actions), len(actions))

    def halves(self) -> Sequence[_Batch]:
        actions = list(actions_of(self.body))
        middle = len(actions) // 2
        return _Batch.of(actions[:middle]), _Batch.of(actions[middle:])


class Delivery:
    """Sends one page to one path; used once, by one thread."""

    def __init__(
        self,
        http: Http,
        path: str,
        page: Page,
        deadline_seconds: float,
        patience: Patience,
        size: RequestSize | None = None,
    ) -> None:
        self._http = http
        self._path = path
        self._page = page
        self._patience = patience
        self._size = size or RequestSize()
        self._expires_seconds = (page.read_at_seconds or time.monotonic()) + deadline_seconds
        self._attempt = 0
        self._retried = False
        self._conflict_version = 0
        self._last_reason = ""
        self._dead: list[DeadLetter] = []

    def run(self) -> Ack:
        """Settle every action; raises Unavailable, Stop or Discontinuity (see the sink's base)."""
        page = self._page
        begun_seconds = time.monotonic()
        todo = [_Batch(page.body, page.documents)] if page.documents else []
        while todo:
            self._check_age()
            batch = todo.pop()
            large = batch.actions > 1 and len(batch.body) > self._size.most_bytes
            todo.extend(reversed(batch.halves() if large else self._send(batch)))
        conflict = self._conflict_version if self._conflict_version > page.version else 0
        took_seconds = time.monotonic() - begun_seconds
        return Ack(
            page.documents, len(page.body), tuple(self._dead), conflict, self._retried, took_seconds
        )

    def _check_age(self) -> None:
        if time.monotonic() < self._expires_seconds:
            return
        last = f"; last answer: {self._last_reason}" if self._last_reason else ""
        raise PageExpired(f"a page of {self._page.document} waited too long{last}")

    def _send(self, batch: _Batch) -> Sequence[_Batch]:
        """Send a batch; what of it has to be sent (again) is returned, in order."""
        answer = self._http.send("POST", self._path, batch.body, NDJSON)
        kind, reason = ("", "") if answer.status == 200 else answer.error
        outcome = request_outcome(answer.status, kind, reason)
        if outcome is Outcome.ANSWERED:
            self._size.passed(len(batch.body))
            return self._settle(batch, answer)
        text = f"{answer.status} {kind} {reason}".strip()
        if outcome is Outcome.SPLIT:
            if answer.status == _TOO_LARGE and batch.actions > 1:
                self._size.refused(len(batch.body))
            return self._split(batch, text)
        if outcome in (Outcome.RETRY, Outcome.BLOCKED):
            self._rest(outcome, text)
            # A request that is too large for the sink's memory never passes in one piece.
            if self._attempt <= _WHOLE_ATTEMPTS or batch.actions == 1:
                return [batch]
            if outcome is Outcome.RETRY:
                self._size.refused(len(batch.body))
            return batch.halves()
        self._fail(outcome, answer, text)
        return ()

    def _fail(self, outcome: Outcome, answer: Answer, reason: str) -> None:
        if outcome is Outcome.MISSING_INDEX:
            raise self._index_gone(reason)
        if outcome is Outcome.STOP:
            raise refused(f"to write to {self._page.document}", answer.status, *answer.error)
        raise SinkUnavailable(
            f"the sink answered {reason}: whether it was applied is not known",
            "" if answer.error[0] else "is there a proxy in between, or another server?",
        )

    def _split(self, batch: _Batch, reason: str) -> Sequence[_Batch]:
        """A refused whole is tried in halves, down to the one action that is to blame."""
        self._retried = True
        if batch.actions > 1:
            return batch.halves()
        (action,) = actions_of(batch.body)
        self._bury(action.id, reason)
        return ()

    def _settle(self, batch: _Batch, answer: Answer) -> Sequence[_Batch]:
        """Act upon what is not simply done; the items to send again are returned."""
        try:
            found = refusals(answer.body, batch.actions)
        except AnswerError as error:
            raise SinkUnavailable(f"{error}: what was applied is not known") from None
        if not found:
            self._attempt = 0
            return ()
        self._raise_for(found)
        actions = list(actions_of(batch.body))
        again = []
        for refusal in found:
            if refusal.outcome is Outcome.CONFLICT:
                self._conflict_version = max(self._conflict_version, refusal.current_version)
            elif refusal.outcome is Outcome.DEAD:
                self._bury(actions[refusal.place].id, refusal.reason)
            else:
                again.append(refusal)
        if not again:
            return ()
        worst = next((r for r in again if r.outcome is Outcome.BLOCKED), again[0])
        self._rest(worst.outcome, worst.reason)
        return [_Batch.of([actions[refusal.place] for refusal in again])]

    def _raise_for(self, found: Sequence[Refusal]) -> None:
        for refusal in found:
            if refusal.outcome is Outcome.MISSING_INDEX:
                raise self._index_gone(refusal.reason)
            if refusal.outcome is Outcome.STOP:
                raise PreconditionError(
                    f"the sink refuses to write to {self._page.document}: {refusal.reason}",
                    "see docs/sink-errors.md",
                )

    def _rest(self, outcome: Outcome, reason: str) -> None:
        """Wait before the next attempt, but no longer than the page lives."""
        self._retried = True
        self._last_reason = reason
        base = 0.5
        if outcome is Outcome.BLOCKED:
            self._patience.warn(reason)
            base = _BLOCKED_BASE_SECONDS
        delay = delay_seconds(self._attempt, random.random(), base)
        self._attempt += 1
        self._patience.wait(max(0.0, min(delay, self._expires_seconds - time.monotonic())))

    def _bury(self, document_id: str, reason: str) -> None:
        page = self._page
        self._dead.append(DeadLetter(page.document, document_id, page.version, reason))

    def _index_gone(self, reason: str) -> Discontinuity:
        document = self._page.document
        return Discontinuity(f"index {document} is gone: {reason}", document=document)
