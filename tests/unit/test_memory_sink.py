"""The sink and the store in memory: the faults that tests ask of them."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from txid_sync.cursor import Cursor
from txid_sync.errors import PageExpired, SinkUnavailable, TakenOver, UsageError
from txid_sync.model import Ack, Column, Document, Page, Schema
from txid_sync.progress.base import Progress
from txid_sync.progress.memory import MemoryProgress, SaveFault
from txid_sync.sinks import SINKS, sink_class
from txid_sync.sinks.base import Sink
from txid_sync.sinks.discard import DiscardSink
from txid_sync.sinks.memory import Fault, MemorySink
from txid_sync.snapshot import Snapshot

SCHEMA = Schema((Column("n", "int8"),), ("n",), "1", "1")
INDEX = '{{"index":{{"_id":"{}","version":{},"version_type":"external_gte"}}}}\n{{"n":{}}}\n'
DELETE = '{{"delete":{{"_id":"{}","version":{},"version_type":"external_gte"}}}}\n'
START = Progress(Cursor.start(Snapshot.parse("5:5:")), {"system": "1"})


def prepared(sink: MemorySink) -> MemorySink:
    """A sink with the index `i`."""
    sink.prepare([Document("t", "i")], {"i": SCHEMA})
    return sink


def index(version: int, *ids: str) -> Page:
    """A page that indexes these ids with their version as content."""
    body = "".join(INDEX.format(i, version, version) for i in ids)
    return Page("i", body.encode(), len(ids), version)


def delete(version: int, *ids: str) -> Page:
    """A page that deletes these ids."""
    return Page("i", "".join(DELETE.format(i, version) for i in ids).encode(), len(ids), version)


def contents(sink: MemorySink) -> dict[str, bytes]:
    """What the index holds."""
    return sink.documents("i")


@pytest.mark.parametrize(
    ("fault", "error", "applied"),
    [
        (Fault.REFUSED, SinkUnavailable, 0),
        (Fault.LATE, SinkUnavailable, 0),
        (Fault.HALF, SinkUnavailable, 2),
        (Fault.LOST, SinkUnavailable, 4),
        (Fault.EXPIRED, PageExpired, 0),
    ],
)
def test_faults_apply_what_they_say(fault: Fault, error: type[Exception], applied: int) -> None:
    """Refused, lost on the way, half way, or on the way back: the caller sees the same error."""
    faults = iter([fault, None])
    sink = prepared(MemorySink(faults=lambda _: next(faults)))
    with pytest.raises(error):
        sink.submit(index(5, "a", "b", "c", "d")).result(0)
    assert len(contents(sink)) == applied
    assert not sink.submit(index(5, "a")).result(0).retried


def test_a_retried_page_says_so() -> None:
    """The Ack of a page that was applied at the second attempt is marked."""
    sink = prepared(MemorySink(faults=lambda _: Fault.RETRIED))
    assert sink.submit(index(5, "a")).result(0).retried


def test_a_late_page_arrives_when_told() -> None:
    """A request that was given up may still be applied, in its own time."""
    faults = iter([Fault.LATE, None])
    sink = prepared(MemorySink(faults=lambda _: next(faults)))
    assert isinstance(sink.submit(index(5, "a")).exception(0), SinkUnavailable)
    sink.submit(delete(6, "a")).result(0)
    sink.arrive()
    assert contents(sink) == {}


def test_forgotten_deletes_let_old_documents_in() -> None:
    """After a restart of the node an old write of a deleted document is accepted."""
    sink = prepared(MemorySink())
    sink.submit(delete(6, "a")).result(0)
    sink.forget_tombstones()
    sink.submit(index(5, "a")).result(0)
    assert contents(sink) == {"a": b'{"n":5}'}


def test_held_pages_are_released_in_any_order() -> None:
    """The order of release is the order in which the server works, not that of submitting."""
    sink = prepared(MemorySink(hold=True))
    futures: list[Future[Ack]] = [sink.submit(index(v, "a")) for v in (5, 6, 7)]
    sink.release(2)
    assert [future.done() for future in futures] == [False, False, True]
    sink.release(0)
    assert futures[0].result(0).conflict_version == 7
    sink.close()
    assert isinstance(futures[1].exception(0), SinkUnavailable)
    assert contents(sink) == {"a": b'{"n":7}'}


@pytest.mark.parametrize(
    "body",
    [
        b'{"index":{"_id":"1","version":5}}\n{}\n',
        b'{"index":{"_id":"1","version":5,"version_type":"external"}}\n{}\n',
        b'{"create":{"_id":"1","version":5,"version_type":"external_gte"}}\n{}\n',
        b'{"index":{"_id":"1","version":5,"version_type":"external_gte"}}\n[]\n',
        b'{"index":{"_id":"1","version":5,"version_type":"external_gte"}}\n{"a":\n',
        b'{"index":{"_id":"1","version":5,"version_type":"external_gte"}}\n',
    ],
)
def test_a_body_of_another_form_is_a_bug(body: bytes) -> None:
    """What no source may send is not taken silently."""
    with pytest.raises(ValueError, match=r".+"):
        prepared(MemorySink()).submit(Page("i", body, 1, 5))


def test_an_id_that_is_too_long_is_dead() -> None:
    """As in a real index; the neighbours are applied."""
    sink = prepared(MemorySink())
    ack = sink.submit(index(5, "x" * 513, "a")).result(0)
    assert [letter.id for letter in ack.dead] == ["x" * 513]
    assert list(contents(sink)) == ["a"]


def test_a_lost_save_is_found_again() -> None:
    """Stored though the answer was lost: the same text, or the next one, may be saved after it."""
    faults = iter([None, SaveFault.LOST, None, SaveFault.LOST, None, SaveFault.REFUSED, None])
    store = MemoryProgress(faults=lambda _: next(faults))
    fence = store.save("a", START, None)
    second = Progress(START.cursor, {"system": "2"})
    third = Progress(START.cursor, {"system": "3"})
    with pytest.raises(SinkUnavailable):
        store.save("a", second, fence)
    fence = store.save("a", second, fence)
    with pytest.raises(SinkUnavailable):
        store.save("a", third, fence)
    with pytest.raises(TakenOver):
        store.other().save("a", second, fence)
    fence = store.save("a", second, fence)
    with pytest.raises(SinkUnavailable):
        store.save("a", third, fence)
    assert store.load("a") == (second, fence)
    store.save("a", third, fence)


def test_the_discarding_sink_counts() -> None:
    """Everything is acknowledged, nothing is kept."""
    sink = DiscardSink()
    page = index(5, "a", "b")
    assert sink.submit(page).result(0) == Ack(2, len(page.body))
    assert (sink.documents, sink.body_bytes, sink.count("i")) == (2, len(page.body), 0)


@pytest.mark.parametrize("name", SINKS)
def test_every_sink_is_found_by_its_name(name: str) -> None:
    """The registry names classes that are there."""
    assert issubclass(sink_class(name), Sink)


def test_an_unknown_sink_is_told_with_the_known_ones() -> None:
    """A misspelt name is a usage error."""
    with pytest.raises(UsageError, match="elasticsearch"):
        sink_class("elastic")
