"""One page on its way: what is sent again, what is not, and when it ends."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from txid_sync.errors import (
    Discontinuity,
    PageExpired,
    PreconditionError,
    SinkUnavailable,
    TxidSyncError,
)
from txid_sync.model import Page
from txid_sync.sinks import elasticsearch_delivery
from txid_sync.sinks.bulk import actions_of
from txid_sync.sinks.elasticsearch_delivery import Delivery, Patience, RequestSize
from txid_sync.sinks.elasticsearch_http import Answer, Http

BUSY = (429, "es_rejected_execution_exception")
CONFLICT = (409, "version_conflict_engine_exception")
BAD = (400, "document_parsing_exception")
Reply = Callable[[Sequence[str]], Answer]


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays are those of test_backoff; here they are short."""

    def short(attempt: int, unit: float, base: float = 0.5) -> float:
        del unit, base
        return 0.001 * attempt

    monkeypatch.setattr(elasticsearch_delivery, "delay_seconds", short)


class Script:
    """Answers requests from a list, the last one for ever; keeps the ids of each."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.sent: list[list[str]] = []

    def send(self, method: str, path: str, body: bytes, media_type: str) -> Answer:
        assert (method, path, media_type) == ("POST", "/i/_bulk", "application/x-ndjson")
        ids = [action.id for action in actions_of(body)]
        self.sent.append(ids)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return reply(ids)


def items(reason: str = "why", **wrong: tuple[int, str]) -> Reply:
    """A 200 answer in which the ids named (with an underscore before) have these errors."""

    def reply(ids: Sequence[str]) -> Answer:
        values = []
        for i in ids:
            status, kind = wrong.get(f"_{i}", (200, ""))
            error = {"error": {"type": kind, "reason": reason}} if kind else {}
            values.append({"index": {"status": status, **error}})
        errors = any("error" in value["index"] for value in values)
        body = json.dumps({"errors": errors, "items": values}, separators=(",", ":"))
        return Answer(200, body.encode())

    return reply


def whole(status: int, kind: str = "") -> Reply:
    """A refusal of the request."""
    error = {"error": {"type": kind, "reason": "why"}} if kind else {}
    return lambda ids: Answer(status, json.dumps(error).encode() if ids else b"")


def delivery(
    script: Script,
    ids: str,
    seconds: float = 10.0,
    age_seconds: float = 0.0,
    size: RequestSize | None = None,
) -> Delivery:
    """A page with these one-letter ids at version 5."""
    head = '{{"index":{{"_id":"{}","version":5,"version_type":"external_gte"}}}}\n{{"n":1}}\n'
    body = "".join(head.format(i) for i in ids).encode()
    page = Page("i", body, len(ids), 5, read_at_seconds=time.monotonic() - age_seconds)
    return Delivery(cast("Http", script), "/i/_bulk", page, seconds, Patience(), size)


def test_H10_only_items_that_were_refused_are_sent_again() -> None:
    """What succeeded, conflicted or is dead is never sent again."""
    script = Script(items(_b=BUSY, _c=BAD, _d=CONFLICT, _e=BUSY), items(_e=BUSY), items())
    ack = delivery(script, "abcdef").run()
    assert script.sent == [list("abcdef"), ["b", "e"], ["e"]]
    assert [(d.id, d.version) for d in ack.dead] == [("c", 5)]
    assert (ack.documents, ack.retried) == (6, True)


def test_nothing_is_sent_twice_when_all_is_well() -> None:
    """One request, and the Ack says that nothing was repeated."""
    script = Script(items())
    ack = delivery(script, "abc").run()
    assert (script.sent, ack.retried, ack.conflict_version) == ([list("abc")], False, 0)


def test_a_page_without_actions_is_not_sent() -> None:
    """There is nothing to send."""
    script = Script(whole(500))
    assert delivery(script, "").run().documents == 0
    assert script.sent == []


def test_A15_the_greatest_conflict_above_the_page_is_told() -> None:
    """A conflict with a version above the page's own is in the Ack, an equal one is not."""
    reason = "current version [{}] is higher"
    assert delivery(Script(items(reason.format(9), _a=CONFLICT)), "ab").run().conflict_version == 9
    assert delivery(Script(items(reason.format(5), _a=CONFLICT)), "ab").run().conflict_version == 0


def test_halving_finds_the_culprit() -> None:
    """A request that is refused whole is sent in halves, and in its order."""

    def without_f(ids: Sequence[str]) -> Answer:
        return whole(400, "illegal_argument_exception")(ids) if "f" in ids else items()(ids)

    script = Script(without_f)
    ack = delivery(script, "abcdefgh").run()
    assert [d.id for d in ack.dead] == ["f"]
    assert ["".join(ids) for ids in script.sent] == [
        "abcdefgh", "abcd", "efgh", "ef", "e", "f", "gh"
    ]  # fmt: skip
    assert ack.retried


def test_a_request_that_stays_refused_is_sent_in_parts() -> None:
    """After a few refusals for load the request is halved, as long as it can be."""

    def at_most_two(ids: Sequence[str]) -> Answer:
        return items()(ids) if len(ids) <= 2 else whole(*BUSY)(ids)

    script = Script(at_most_two)
    assert delivery(script, "abcdefgh").run().retried
    assert sorted("".join(ids) for ids in script.sent if len(ids) <= 2) == ["ab", "cd", "ef", "gh"]


@pytest.mark.parametrize("refusal", [whole(413), whole(*BUSY)])
def test_a_size_that_was_refused_is_not_tried_again_at_once(refusal: Reply) -> None:
    """The next page is sent in parts that pass; later ones try a little more, bit by bit."""
    ids = "".join(chr(0x4E00 + n) for n in range(4000))

    def at_most_a_thousand(ids: Sequence[str]) -> Answer:
        return items()(ids) if len(ids) <= 1000 else refusal(ids)

    size = RequestSize()
    script = Script(at_most_a_thousand)
    assert delivery(script, ids, size=size).run().retried
    script.sent.clear()
    assert not delivery(script, ids, size=size).run().retried
    assert len(script.sent) == 4
    learnt = size.most_bytes
    for _ in range(3):
        delivery(script, ids, size=size).run()
    assert learnt < size.most_bytes < 2 * learnt


def test_one_document_that_is_too_large_says_nothing_of_the_others() -> None:
    """A request of one action is not a reason to make others smaller."""
    size = RequestSize()
    assert len(delivery(Script(whole(413)), "a", size=size).run().dead) == 1
    assert size.most_bytes == math.inf


UNKNOWN: list[Reply] = [
    whole(502),
    whole(503),
    whole(504),
    whole(400),
    lambda _: Answer(200, b"<html>"),
    lambda _: Answer(200, b'{"errors":false,"items":[{"index":{"status":200}}]}'),
]


@pytest.mark.parametrize("reply", UNKNOWN)
def test_what_is_not_known_is_told_at_once(reply: Reply) -> None:
    """Nothing is repeated behind the caller's back: he reads again and keeps the order."""
    script = Script(reply)
    with pytest.raises(SinkUnavailable):
        delivery(script, "abc").run()
    assert len(script.sent) == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (items(_b=(404, "index_not_found_exception")), Discontinuity),
        (whole(404, "index_not_found_exception"), Discontinuity),
        (items(_b=(403, "security_exception")), PreconditionError),
        (whole(401, "security_exception"), PreconditionError),
        (whole(403, "security_exception"), PreconditionError),
        (whole(406), PreconditionError),
    ],
)
def test_what_needs_somebody_else_ends_it(reply: Reply, error: type[TxidSyncError]) -> None:
    """An index that is gone, a login or a right that is missing: no attempt more."""
    script = Script(reply)
    with pytest.raises(error):
        delivery(script, "abc").run()
    assert len(script.sent) == 1


@pytest.mark.parametrize(
    "reply", [items(_b=BUSY), whole(*BUSY), whole(503, "cluster_block_exception")]
)
def test_a_page_expires(reply: Reply) -> None:
    """At the deadline, counted from when it was read, the page is given back."""
    script = Script(reply)
    begun = time.monotonic()
    with pytest.raises(PageExpired, match="why"):
        delivery(script, "abc", seconds=1.0, age_seconds=0.8).run()
    assert 0.1 < time.monotonic() - begun < 0.8
    assert len(script.sent) > 1


def test_a_page_that_is_too_old_is_not_sent() -> None:
    """The deadline may have passed before the first attempt."""
    script = Script(items())
    with pytest.raises(PageExpired):
        delivery(script, "abc", seconds=1.0, age_seconds=1.1).run()
    assert script.sent == []


def test_closing_ends_the_waiting() -> None:
    """A sink that is closed does not wait for the next attempt."""
    patience = Patience()
    patience.close()
    with pytest.raises(SinkUnavailable):
        patience.wait(60.0)
