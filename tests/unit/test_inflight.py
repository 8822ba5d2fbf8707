"""How many pages are under way, and how large they are, by the answers of the sink."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from unittest import mock

import pytest

from tests.unit.pipelines import OPTIONS, World, started
from txid_sync.errors import SinkUnavailable
from txid_sync.inflight import EMPTY, Flight, InFlight, answered
from txid_sync.model import Ack, Limits, Page


@pytest.mark.parametrize("ack", [None, Ack(1, 1, retried=True), Ack(1, 1, seconds=5.1)])
def test_flights_adapt_between_one_and_the_limit(ack: Ack | None) -> None:
    """Halved by a failure, a refusal or a slow answer, then smaller pages; one more after a round
    of clean answers, full at what is allowed."""
    flights, allowed = InFlight(4, Limits(1000, 50_000)), []
    for _ in range(4):
        flights.learn(ack) if ack else flights.slow_down()
        allowed.append((flights.allowed, flights.limits))
    flights.add(Flight(Page("a", b"x", 1, 1), Future(), lambda progress: progress))
    assert flights.full
    whole = Limits(1000, 50_000)
    assert allowed == [
        (2, whole), (1, whole), (1, Limits(500, 25_000)), (1, Limits(250, 12_500))
    ]  # fmt: skip
    flights.learn(Ack(1, 1, seconds=4.9))
    assert flights.limits == Limits(500, 25_000)
    for _ in range(20):
        flights.learn(Ack(1, 1))
    assert (flights.allowed, flights.full, flights.limits) == (4, False, whole)
    for _ in range(100):
        flights.slow_down()
    assert flights.limits == Limits(3, 195)


def test_a_sink_that_answers_to_small_pages_only_gets_everything() -> None:
    """One that takes longer than a page lives never gets it, however often it is sent."""
    world = World(options=replace(OPTIONS, limits=Limits(64, 100_000)))
    pipeline = started(world)
    world.write("a", *range(100))
    send, step, refused, busy = world.sink.submit, pipeline.step, 0, True

    def submit(page: Page) -> Future[Ack]:
        if page.documents > 4:
            raise SinkUnavailable("no answer in time")
        return send(page)

    with mock.patch.object(world.sink, "submit", submit):
        while busy:
            try:
                busy, step = step(), pipeline.step
            except SinkUnavailable:
                step, refused = pipeline.recover_and_step, refused + 1
                assert refused < 30
    assert refused
    world.assert_equal()


def test_pages_without_documents_take_no_request_s_place() -> None:
    """They wait in the queue for what is before them; a few at the most."""
    flights = InFlight(2)
    flights.add(Flight(Page("a", b"x", 1, 1), Future(), lambda progress: progress))
    for _ in range(EMPTY):
        flights.add(Flight(Page("a", b"", 0, 1), answered(Ack(0, 0)), lambda progress: progress))
        assert not flights.full
    flights.add(Flight(None, answered(Ack(0, 0)), lambda progress: progress))
    assert flights.full
