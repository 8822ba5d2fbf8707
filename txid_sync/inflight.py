"""Pages on their way to the sink, in the order in which they were read.

Only the acknowledged prefix counts.  How many may be under way adapts: one more after each full
round of clean answers, half as many after a refusal, a failure or a slow answer.  So does the size
of pages: half after a request that got no answer in time, for a sink must meet a page that it can
answer to; a little more after each answer to a page of nearly that size.  A worker's page of the
stream has been cut after so many entries of all workers, and holds its own share of them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from txid_sync.errors import PageExpired, SinkUnavailable
from txid_sync.model import Ack, Limits, Page
from txid_sync.progress.base import Progress

Effect = Callable[[Progress], Progress]

GATE_POLL_SECONDS = 0.0005
SLOW_SECONDS = 5.0
GROWTH = 1.1  # of small pages
NEARLY = 0.8  # all of a page's limit: some of its entries name one key, or another worker's
EMPTY = 4  # pages without documents that may stand in the queue beside the requests


@dataclass(frozen=True, slots=True)
class Flight:
    """A page that was sent: its answer to come, and what progress becomes once it has come.

    `complete_clock` is the clock up to which the sink is complete after it (0: says nothing).
    """

    page: Page | None
    answer: Future[Ack]
    effect: Effect
    complete_clock: int = 0
    closes_window: bool = False

    @property
    def is_request(self) -> bool:
        """Whether the sink has something to do for it."""
        return self.page is not None and not self.page.is_empty


@dataclass(slots=True)
class InFlight:
    """The queue of flights; `limit` is how many there may be at the most, `most` what a page of
    them may hold, `workers` how many share the keys."""

    limit: int
    most: Limits = field(default_factory=Limits)
    workers: int = 1
    _flights: deque[Flight] = field(default_factory=deque)
    _allowed: float = 0.0
    _share: float = 1.0

    def __post_init__(self) -> None:
        self._allowed = float(self.limit)

    def __len__(self) -> int:
        return len(self._flights)

    @property
    def allowed(self) -> int:
        """How many may be under way now."""
        return max(1, int(self._allowed))

    @property
    def limits(self) -> Limits:
        """What the next page may hold."""
        if self._share >= 1:
            return self.most
        documents, body_bytes = self.most.documents, self.most.body_bytes
        return Limits(max(1, int(documents * self._share)), max(1, int(body_bytes * self._share)))

    @property
    def full(self) -> bool:
        """Whether no further request may be sent now."""
        requests = sum(flight.is_request for flight in self._flights)
        return requests >= self.allowed or self.crowded

    @property
    def crowded(self) -> bool:
        """Whether no page without documents may be added either."""
        return len(self._flights) >= self.allowed + EMPTY

    @property
    def read_documents(self) -> int:
        """How many documents are under way; may be asked from any thread."""
        return sum(flight.page.read_documents for flight in tuple(self._flights) if flight.page)

    @property
    def newest_version(self) -> int:
        """The greatest version that is under way (0: none is)."""
        return max((f.page.version for f in self._flights if f.page), default=0)

    def add(self, flight: Flight) -> None:
        """Append the newest flight."""
        self._flights.append(flight)

    @property
    def head(self) -> Flight | None:
        """The oldest flight."""
        return self._flights[0] if self._flights else None

    def pop(self) -> Flight:
        """Take the oldest flight out."""
        return self._flights.popleft()

    def answer(self) -> Ack:
        """The answer to the oldest flight, waited for; raises what the sink raised."""
        try:
            return self._flights[0].answer.result()
        except (SinkUnavailable, PageExpired):
            self._share = max(1 / self.most.documents, self._share / 2)
            raise

    def learn(self, ack: Ack) -> None:
        """An answer came."""
        if ack.retried or ack.seconds > SLOW_SECONDS:
            self.slow_down()
        else:
            self._allowed = min(float(self.limit), self._allowed + 1 / self._allowed)
        limits = self.limits
        documents, body_bytes = ack.documents * self.workers, ack.body_bytes * self.workers
        if documents >= NEARLY * limits.documents or 2 * body_bytes >= limits.body_bytes:
            more = max(self._share * GROWTH, self._share + 1 / self.most.documents)
            self._share = min(1.0, more)

    def slow_down(self) -> None:
        """The sink refused something, failed, or was slow."""
        self._allowed = max(1.0, self._allowed / 2)

    def abandon(self) -> None:
        """Wait until nothing is under way, and forget all answers."""
        for flight in self._flights:
            if not flight.answer.cancel():
                flight.answer.exception()
        self._flights.clear()


def wait_for_gate(page: Page, until_seconds: float, seconds: Callable[[], float]) -> None:
    """Return once the page may be sent; raises PageExpired if it may not be by then."""
    while not page.ready():
        if seconds() > until_seconds:
            raise PageExpired("the source did not flush its WAL in time")
        time.sleep(GATE_POLL_SECONDS)


def answered(ack: Ack) -> Future[Ack]:
    """A future that has its answer already: for a page with nothing to send."""
    future: Future[Ack] = Future()
    future.set_result(ack)
    return future


def no_effect(progress: Progress) -> Progress:
    """That of a page which has no place of its own."""
    return progress
