"""How many pages are under way, and how large they are, by the answers of the sink."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from unittest import mock

import pytest

from tests.unit.pipelines import OPTIONS, World, drain, started
from txid_sync.errors import PageExpired, SinkUnavailable
from txid_sync.inflight import EMPTY, Flight, InFlight, answered
from txid_sync.model import Ack, Limits, Page
from txid_sync.share import Share

# Limits after a page that was too small, one of nearly all documents, one of half the bytes.
GROWN = [Limits(250, 12_500), Limits(275, 13_750), Limits(302, 15_125)]


def grown(flights: InFlight, *acks: Ack) -> list[Limits]:
    """What the next page may hold after each answer."""
    found = []
    for ack in acks:
        flights.learn(ack)
        found.append(flights.limits)
    return found


@pytest.mark.parametrize("ack", [None, Ack(1, 1, retried=True), Ack(1, 1, seconds=5.1)])
def test_flights_adapt_between_one_and_the_limit(ack: Ack | None) -> None:
    """Halved by a failure, a refusal or a slow answer; one more after a round of clean answers,
    full at what is allowed."""
    flights, allowed = InFlight(4), []
    for _ in range(3):
        flights.learn(ack) if ack else flights.slow_down()
        allowed.append(flights.allowed)
    flights.add(Flight(Page("a", b"x", 1, 1), Future(), lambda progress: progress))
    assert (allowed, flights.full) == ([2, 1, 1], True)
    for _ in range(20):
        flights.learn(Ack(1, 1, seconds=4.9))
    assert (flights.allowed, flights.full, flights.limits) == (4, False, Limits())


@pytest.mark.parametrize("error", [SinkUnavailable("no answer"), PageExpired("too late")])
def test_pages_are_halved_where_no_answer_came(error: Exception) -> None:
    """Down to one document; up again by answers to pages of nearly that size only."""
    flights, failed = InFlight(4, Limits(1000, 50_000)), Future[Ack]()
    failed.set_exception(error)
    flights.add(Flight(Page("a", b"x", 1, 1), failed, lambda progress: progress))

    def fail() -> Limits:
        with pytest.raises(type(error)):
            flights.answer()
        return flights.limits

    assert [fail(), fail()] == [Limits(500, 25_000), Limits(250, 12_500)]
    assert grown(flights, Ack(199, 6_249), Ack(200, 1), Ack(1, 6_875)) == GROWN
    for _ in range(20):
        fail()
    assert flights.limits == Limits(1, 50)
    for _ in range(200):
        flights.learn(Ack(flights.limits.documents, 1))
    assert flights.limits == Limits(1000, 50_000)


def test_a_worker_s_pages_grow_by_its_share_of_the_entries() -> None:
    """A page of 250 entries holds about 62 keys of one of four workers."""
    flights = InFlight(4, Limits(1000, 50_000), workers=4)
    flights._share = 0.25
    assert grown(flights, Ack(49, 1_562), Ack(50, 1), Ack(1, 1_719)) == GROWN


@pytest.mark.parametrize("share", Share.all(3), ids=str)
def test_pages_of_a_worker_come_back_to_their_size(share: Share) -> None:
    """After a while without answers, when nothing but keys of all workers comes."""
    world = World(options=replace(OPTIONS, limits=Limits(documents=64, body_bytes=100_000)))
    pipeline = world.pipeline(share=share)
    pipeline.start()
    drain(pipeline)
    pipeline._flights._share = 1 / 64
    for first in range(0, 12_000, 300):
        world.write("a", *range(first, first + 300))
        drain(pipeline)
    assert pipeline._flights.limits.documents == 64


@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_a_sink_that_answers_to_small_pages_only_gets_everything(in_flight: int) -> None:
    """One that takes longer than a page lives never gets it, however often it is sent; changes of
    another table that it does take do not make pages larger again."""
    options = replace(OPTIONS, limits=Limits(64, 100_000), in_flight=in_flight)
    world = World(options=options)
    pipeline = started(world)
    world.write("a", *range(100))
    send, step, refused, busy = world.sink.submit, pipeline.step, 0, True

    def submit(page: Page) -> Future[Ack]:
        if page.documents > 4:
            failed = Future[Ack]()
            failed.set_exception(SinkUnavailable("no answer in time"))
            return failed
        return send(page)

    with mock.patch.object(world.sink, "submit", submit):
        while busy:
            try:
                busy, step = step(), pipeline.step
            except SinkUnavailable:
                step, refused = pipeline.recover_and_step, refused + 1
                assert refused < 25
                world.write("b", refused)
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
