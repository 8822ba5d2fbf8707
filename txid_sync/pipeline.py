"""The pipeline: page -> gate -> in flight -> acknowledged -> cursor -> progress.

The one place where order matters.  It knows nothing of transactions and nothing of the sink's
protocol: a source turns a cursor into a page and the cursor after it, a sink turns a page into an
acknowledgement.

Rules
-----
1. A page is sent only after its gate; what was read behind a gate that cannot answer any more is
   thrown away, page and cursor.
2. Progress moves over the acknowledged prefix only, in the order of reading.
3. A failure whose outcome is not known, or a page that grew too old, is never sent again as it
   was: everything from that page on is **read** again, from progress.
4. When some items had to be sent again, whatever was sent after them is read again too: a sink
   that restarted in between may have forgotten its deletes.
5. A new epoch is saved before anything is sent under it.
6. A sweep begins when all pages read before it are acknowledged.
7. Pages that may differ although their versions are equal (those of a standby) are not under way
   together.
8. Every page is sent only if the server that it was read from is that of progress.

Stream, load and sweep pages share one queue; their versions order them at the sink.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from txid_sync.backlog import Backlog
from txid_sync.cursor import Cursor
from txid_sync.errors import Discontinuity, SourceUnavailable, Unavailable
from txid_sync.failpoints import Failpoint, ignore
from txid_sync.inflight import Effect, Flight, InFlight, answered, no_effect, wait_for_gate
from txid_sync.keeper import Keeper
from txid_sync.model import Ack, Document, Page, Reading, StreamPage, clock_of, epoch_of, version_of
from txid_sync.pipeline_status import PipelineOptions, PipelineStatus, status_of
from txid_sync.progress.base import DocumentProgress, Progress, ProgressStore
from txid_sync.share import WHOLE, Share
from txid_sync.sinks.base import Sink
from txid_sync.sources.base import Source
from txid_sync.sweep import candidates, looked_up, swept, without_row

__all__ = ["Pipeline", "PipelineOptions", "PipelineStatus"]

log = logging.getLogger("txid_sync")


class Pipeline:
    """Source -> sink with one cursor; drive it by `start`, then `step` for ever, then `stop`.

    A worker does so for its share of the keys; its source gives no others.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        sink: Sink,
        store: ProgressStore,
        documents: Sequence[Document],
        options: PipelineOptions | None = None,
        failpoint: Failpoint = ignore,
        seconds: Callable[[], float] = time.monotonic,
        share: Share = WHOLE,
    ) -> None:
        self.name, self._share = name, share
        self._source, self._sink = source, sink
        self._options = options or PipelineOptions()
        self._failpoint, self._seconds = failpoint, seconds
        self._keeper = Keeper(
            name, source, sink, store, documents, self._options, failpoint, seconds, share
        )
        self._flights = InFlight(self._options.in_flight, self._options.limits, share.of)
        self._read_cursor: Cursor
        self._backlog, self._stream_next = Backlog(), True
        self._load_after: dict[str, tuple[str, ...] | None] = {}
        self._sweep: tuple[str, int, Iterator[Sequence[str]]] | None = None
        self._clock = self._complete_clock = 0
        self.divergence: int | None = None

    # -- start and stop ---------------------------------------------------------------------

    def start(self) -> None:
        """Load progress, or make the first; compare it with source and sink; resync if needed."""
        self._keeper.start(self._options.load)
        self._rewind()
        self._backlog = Backlog.begun(self._options.skim_entries, self._options.limits.documents)

    def stop(self) -> None:
        """Wait for the requests in flight, then save progress; what cannot be finished now
        (Unavailable, Discontinuity) is met again at the next start."""
        try:
            while self._flights.head:
                self._collect(wait=True)
        except (Unavailable, Discontinuity) as error:
            log.warning("%s: left for the next start", error.message, extra={"action": "stopped"})
            self._flights.abandon()
        if self._keeper.started:
            self._keeper.close()

    def resync(self, reason: str, names: Sequence[str] = ()) -> None:
        """Write everything (or the named documents) again, under a new epoch."""
        asked: list[str | None] = [*names] if names else [None]
        for document in asked:
            self._resync(Discontinuity(reason, document=document), asked=True)

    def recover(self) -> None:
        """After an Unavailable: go back to what is acknowledged, and look at everything anew."""
        if not self._keeper.started:
            self.start()
            return
        self._source.connect()
        self._rewind()
        self._flights.slow_down()
        self._keeper.look_soon()

    def recover_and_step(self) -> bool:
        """`recover`, then `step`."""
        self.recover()
        return self.step()

    @property
    def started(self) -> bool:
        """Whether progress is loaded, so that `progress` and `status` can be asked for."""
        return self._keeper.started

    @property
    def progress(self) -> Progress:
        """Progress as acknowledged so far (not necessarily saved yet)."""
        return self._keeper.progress

    def status(self) -> PipelineStatus:
        """Figures for people and metrics."""
        return status_of(
            self.progress, self._keeper.schemas,
            clock=self._clock, complete_clock=self._complete_clock,
            flights=self._flights, resyncs=self._keeper.resyncs, divergence=self.divergence,
        )  # fmt: skip

    # -- one step ---------------------------------------------------------------------------

    def step(self) -> bool:
        """Do one thing: take answers, read and send a page, save.  False: nothing is to be done.

        Raises Unavailable (wait, call `recover`, go on) or Stop.
        """
        try:
            busy = self._step()
        except Discontinuity as error:
            self._resync(error)
            return True
        except SourceUnavailable:
            # A server that crashed may count again from below: its clock up to now says nothing.
            self._clock = self._complete_clock = 0
            raise
        self._keeper.save_if_due(self._options.save_interval_seconds)
        return self._keeper.prune_if_due() or busy

    def _step(self) -> bool:
        self._check_catalog()
        self._collect(wait=False)
        if self._flights.full and (self._flights.crowded or not self._list()):
            self._collect(wait=True)
        if self._flights.full or self._read():
            return True
        if self._flights.head:
            self._collect(wait=True)
            return True
        self._check_catalog()
        self._keeper.check_owner(self._options.catalog_interval_seconds)
        self._keeper.settled()
        return False

    def _check_catalog(self) -> None:
        self._keeper.check_catalog(self._clock, self._options.catalog_interval_seconds)

    def _read(self) -> bool:
        """Read and send one page: of the stream, and of a load or sweep, in turns."""
        turns = [self._read_stream, self._read_task]
        if not self._stream_next:
            turns.reverse()
        self._stream_next = not self._stream_next
        return turns[0]() or turns[1]()

    # -- the stream -------------------------------------------------------------------------

    def _read_stream(self) -> bool:
        if self._list() or self._look_up():
            return True
        reading = self._source.poll(self._read_cursor, self.progress.epoch, self._flights.limits)
        if (page := self._take(reading)) is not None:
            self._send_stream(page)
        elif not self._flights.head:
            self._complete_clock = reading.clock
        return page is not None

    def _list(self) -> bool:
        """Go on in a backlog as far as it goes without a request: the sink need not be free."""
        cursor, backlog = self._read_cursor, self._backlog
        if backlog.skimmed is not None and not backlog.left:
            self._backlog = backlog.ended()
            self._send_stream(backlog.skimmed)
            return True
        if backlog.unknown(cursor):
            backlog = self._backlog = backlog.sampled(cursor, self._source.sample(cursor))
        if not backlog.due(cursor):
            return False
        reading, ids = self._source.skim(cursor, self.progress.epoch, backlog.entries)
        if (page := self._take(reading)) is not None:
            self._backlog = backlog.skim(page, ids)
        return page is not None

    def _take(self, reading: Reading) -> StreamPage | None:
        self._keeper.check_reading(reading.identity, reading.clock)
        self._clock = reading.clock
        return reading.page

    def _look_up(self) -> bool:
        """Read some of the documents that a skim has listed."""
        if self._backlog.skimmed is None:
            return False
        name = self._backlog.table
        ids = self._backlog.next(self._source.page_keys(name, self._flights.limits))
        page = self._checked(self._source.lookup(name, ids, self.progress.epoch))
        if self._send(page, no_effect):
            self._backlog = self._backlog.sent(len(ids))
        return True

    def _send_stream(self, stream: StreamPage) -> None:
        page, closes = stream.page, stream.next.window is None

        def effect(progress: Progress) -> Progress:
            moved = replace(progress, cursor=stream.next)
            if not stream.truncated:
                return moved
            return moved.with_document(page.document, sweep_below=page.version, sweep_asked=True)

        if self._send(page, effect, stream.until_clock if closes else 0, closes):
            self._read_cursor = stream.next
            self._backlog = self._backlog.passed(closes)

    # -- loads and sweeps -------------------------------------------------------------------

    def _read_task(self) -> bool:
        documents = self.progress.documents
        for name, entry in documents.items():
            if entry.load and self._load_after.get(name, ()) is not None:
                self._read_load(name, entry)
                return True
        if self._sweep is None:
            due = [name for name, e in documents.items() if e.sweep_below and not e.load]
            if not due:
                return False
            while self._flights.head:
                self._collect(wait=True)
            self._begin_sweep(due[0])
            return True
        self._read_sweep()
        return True

    def _read_load(self, name: str, entry: DocumentProgress) -> None:
        after = self._load_after.get(name, entry.load_after)
        loaded = self._source.load(name, after, self.progress.epoch, self._flights.limits)
        page = self._checked(loaded.page)
        self._keeper.reads_load(page, last=loaded.next is None)

        def effect(progress: Progress) -> Progress:
            if loaded.next is not None:
                count = progress.documents[name].load_documents + page.read_documents
                return progress.with_document(name, load_after=loaded.next, load_documents=count)
            entry = progress.documents[name]
            below = max(entry.sweep_below, entry.load_version)
            return progress.with_document(
                name, load=False, load_after=None, load_documents=0, sweep_below=below
            )

        if self._send(page, effect):
            self._load_after[name] = loaded.next

    def _checked(self, page: Page) -> Page:
        """Rule 8, where no reading tells it."""
        self._keeper.check_reading(page.identity, clock_of(page.version))
        return page

    def _begin_sweep(self, name: str) -> None:  # rule 6: nothing is under way now
        entry = self.progress.documents[name]
        if not entry.sweep_below:
            return
        brake = None if entry.sweep_asked or self._options.brake_off else self._options.brake_share
        gone = partial(without_row, self._source, name, self._flights.limits)
        chunks = candidates(
            self._sink, name, entry.sweep_below, brake, self._check_version, self._share, gone
        )
        self._sweep = name, entry.sweep_below, chunks
        log.info("sweep of %s begins", name, extra={"action": "sweep"})
        self._failpoint("sweep-begun")

    def _read_sweep(self) -> None:
        assert self._sweep is not None
        name, below, chunks = self._sweep
        chunk = next(chunks, None)
        if chunk:
            keys = self._source.page_keys(name, self._flights.limits)
            for part in (chunk[n : n + keys] for n in range(0, len(chunk), keys)):
                page = self._checked(self._source.lookup(name, part, self.progress.epoch))
                if not self._send(page, looked_up(name, len(part))):
                    break
        elif chunk is None:
            self._sweep = None
            self._flights.add(Flight(None, answered(Ack(0, 0)), swept(name, below)))

    # -- send and collect -------------------------------------------------------------------

    def _send(
        self, page: Page, effect: Effect, complete_clock: int = 0, closes: bool = False
    ) -> bool:
        """False: what is under way has to be read again, and this page after it."""
        self._failpoint("page-read")
        known = self.progress.documents[page.document].fingerprint
        if page.fingerprint and page.fingerprint != known:
            raise Discontinuity(
                f"the table of {page.document} changed (columns, triggers or partitions)",
                document=page.document,
            )
        self._wait_for_gate(page)
        self._failpoint("gate-passed")
        if not self._is_alone(page):
            return False
        self._keeper.sends(page)
        answer = answered(Ack(0, 0)) if page.is_empty else self._sink.submit(page)
        self._failpoint("sent")
        self._flights.add(Flight(page, answer, effect, complete_clock, closes))
        return True

    def _is_alone(self, page: Page) -> bool:
        """Rule 7: wait until nothing of this version is under way.  False: it is read again."""
        while not page.exact and self._flights.newest_version >= page.version:
            if not self._collect(wait=True):
                return False
        return True

    def _wait_for_gate(self, page: Page) -> None:  # rule 1
        read_at_seconds = page.read_at_seconds or math.inf
        wait_for_gate(page, read_at_seconds + self._options.deadline_seconds, self._seconds)

    def _collect(self, wait: bool) -> bool:
        """Move progress over the answers that have come; with `wait` at least over the oldest.

        False: what was sent after one of them is read again (rule 4).
        """
        clean = True
        while (flight := self._flights.head) and (wait or flight.answer.done()):
            wait = False
            ack = self._flights.answer()
            self._check_version(ack.conflict_version)
            self._flights.pop()
            self._acknowledge(flight, ack)
            if ack.retried:  # rule 4
                self._rewind()
                clean = False
            self._flights.learn(ack)
        return clean

    def _check_version(self, held: int) -> None:
        """Raise if the sink holds a version that can not have come from this source yet."""
        if held <= version_of(self.progress.epoch, self._clock):
            return
        if held > version_of(self.progress.epoch, self._source.clock()):
            raise Discontinuity(
                f"the index holds version {held}, which the source has not reached:"
                " the source or the progress went back",
                minimum_epoch=epoch_of(held) + 1,
            )

    def _acknowledge(self, flight: Flight, ack: Ack) -> None:
        self._failpoint("acknowledged")
        self._keeper.apply(flight.effect, flight.page, len(ack.dead))
        self._complete_clock = max(self._complete_clock, flight.complete_clock)
        if flight.closes_window:
            self._failpoint("window-closed")

    def _rewind(self) -> None:
        """Read on from progress: whatever is under way is waited for and not counted."""
        self._flights.abandon()
        self._read_cursor = self.progress.cursor
        self._backlog = self._backlog.rewound()
        self._load_after = {}
        self._sweep = None

    def _resync(self, error: Discontinuity, asked: bool = False) -> None:
        self._flights.abandon()
        self._keeper.resync(error, new_epoch=asked, asked=asked)
        self._clock = self._complete_clock = 0
        self._rewind()
