"""Progress on a real server whose answers get lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from txid_sync.cursor import Cursor
from txid_sync.errors import CursorFormatError, PreconditionError, SinkUnavailable, TakenOver
from txid_sync.progress.base import Progress
from txid_sync.progress.elasticsearch import ElasticsearchProgress
from txid_sync.sinks.elasticsearch import ElasticsearchSettings
from txid_sync.sinks.elasticsearch_http import Answer
from txid_sync.snapshot import Snapshot

pytestmark = pytest.mark.integration

START = Progress(Cursor.start(Snapshot.parse("5:5:")), {"system": "1"})
SECOND, THIRD = replace(START, epoch=2), replace(START, epoch=3)


Make = Callable[[], ElasticsearchProgress]


@pytest.fixture
def make(elasticsearch_url: str, index_prefix: str) -> Iterator[Make]:
    """Opens instances of one store."""
    opened: list[ElasticsearchProgress] = []

    def opener() -> ElasticsearchProgress:
        settings = ElasticsearchSettings(elasticsearch_url)
        opened.append(ElasticsearchProgress(settings, f"{index_prefix}progress", 0.5))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


def lose_answers(store: ElasticsearchProgress, count: int) -> None:
    """The next answers to writes are lost on the way back; the writes are done."""
    real = store._http.send
    left = [count]

    def send(method: str, path: str, body: bytes | None = None, media: str = "") -> Answer:
        answer = real(method, path, body, media or "application/json")
        if method == "PUT" and ("/_doc/" in path or "/_create/" in path) and left[0] > 0:
            left[0] -= 1
            raise SinkUnavailable("lost")
        return answer

    store._http.send = send  # type: ignore[method-assign]


def test_one_lost_answer_is_not_noticed(make: Make) -> None:
    """First save or later one: the repeated save finds its own text and goes on."""
    store = make()
    lose_answers(store, 1)
    fence = store.save("a", START, None)
    lose_answers(store, 1)
    fence = store.save("a", SECOND, fence)
    assert make().load("a") == (SECOND, fence)
    store.save("a", THIRD, fence)


def test_an_unknown_save_is_told_and_the_next_goes_on(make: Make) -> None:
    """All answers lost: SinkUnavailable; the same instance may save on, another may not."""
    store = make()
    fence = store.save("a", START, None)
    lose_answers(store, 1000)
    with pytest.raises(SinkUnavailable):
        store.save("a", SECOND, fence)
    with pytest.raises(TakenOver):
        make().save("a", THIRD, fence)
    lose_answers(store, 0)
    store._http.send = make()._http.send  # type: ignore[method-assign]
    last = store.save("a", THIRD, fence)
    assert make().load("a") == (THIRD, last)


def test_progress_that_can_not_be_read_is_told(
    make: Make, index_prefix: str
) -> None:
    """What somebody else wrote there is not guessed at."""
    store = make()
    path = f"/{index_prefix}progress/_doc/a"
    store._http.ask("PUT", path, {"progress": "{}"})
    with pytest.raises(CursorFormatError):
        store.load("a")
    store._http.ask("PUT", path, {"other": 1})
    with pytest.raises(CursorFormatError):
        store.load("a")


def test_a_name_that_is_too_long_is_refused(make: Make) -> None:
    """Before anything is sent."""
    with pytest.raises(PreconditionError):
        make().save("x" * 513, START, None)
