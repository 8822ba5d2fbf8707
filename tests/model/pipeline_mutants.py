"""Rules of the pipeline, each broken in the real classes for the time of one search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest import mock

from tests.model.marker_mutants import (
    marker_not_compared,
    opened_after_sending,
    sent_after_the_marker_not_compared,
)
from tests.model.skim_mutants import (
    seen_beyond_a_rewind,
    seen_in_every_window,
    skim_without_its_keys,
)
from txid_sync import continuity
from txid_sync.continuity import Found
from txid_sync.cursor import Cursor
from txid_sync.errors import TakenOver
from txid_sync.inflight import Flight, InFlight
from txid_sync.keeper import Keeper
from txid_sync.model import Ack, Document, Limits, LoadPage, Page, StreamPage, version_of
from txid_sync.pipeline import Pipeline
from txid_sync.progress.base import DocumentProgress, Fence, Progress
from txid_sync.progress.memory import MemoryProgress
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.memory_look import Look

Patch = AbstractContextManager[Any]
_keep_nothing: Callable[[Progress], Progress] = lambda progress: progress  # noqa: E731


def _swap(owner: object, name: str, new: Callable[..., Any]) -> Patch:
    return mock.patch.object(owner, name, new)


def saved_before_the_ack() -> Patch:
    """Progress moves when a page is sent."""
    real = Pipeline._send

    def send(self: Pipeline, page: Page, effect: Any, *rest: Any) -> bool:
        sent = real(self, page, _keep_nothing, *rest)
        self._keeper.apply(effect, page, 0)
        return sent

    return _swap(Pipeline, "_send", send)


def later_ack_counts() -> Patch:
    """Whichever page is answered first counts first."""

    def head(self: InFlight) -> Flight | None:
        flights = self._flights
        at = next((i for i, flight in enumerate(flights) if flight.answer.done()), 0)
        flights.rotate(-at)
        return flights[0] if flights else None

    return mock.patch.object(InFlight, "head", property(head))


def no_rewind_after_retried() -> Patch:
    """What was sent after a page that had to be sent again is not read again."""
    real = Pipeline._acknowledge

    def acknowledge(self: Pipeline, flight: Flight, ack: Ack) -> None:
        object.__setattr__(ack, "retried", False)
        real(self, flight, ack)

    return _swap(Pipeline, "_acknowledge", acknowledge)


def no_rewind_after_a_failure() -> Patch:
    """After an outage the pipeline connects and reads on where it was."""

    def recover(self: Pipeline) -> None:
        if not self._keeper.started:
            self.start()
            return
        self._source.connect()
        self._flights.abandon()

    return _swap(Pipeline, "recover", recover)


def load_after_saved_early() -> Patch:
    """The place of a load moves when its page is sent."""
    real = Pipeline._read_load

    def read_load(self: Pipeline, name: str, entry: DocumentProgress) -> None:
        real(self, name, entry)
        flight = self._flights._flights.pop()
        assert flight.page is not None
        self._keeper.apply(flight.effect, flight.page, 0)
        self._flights.add(replace(flight, effect=_keep_nothing))

    return _swap(Pipeline, "_read_load", read_load)


def epoch_before_stored() -> Patch:
    """A new epoch is gone by before it is stored."""
    real = Keeper._store_as

    def store_as(self: Keeper, progress: Progress) -> None:
        self._progress, self.dirty = progress, True
        real(self, progress)

    return _swap(Keeper, "_store_as", store_as)


def sent_before_the_gate() -> Patch:
    """A page is sent as soon as it is read."""
    return _swap(Pipeline, "_wait_for_gate", lambda self, page: None)


def gate_asked_elsewhere() -> Patch:
    """The gate is asked on whatever connection there is now."""

    real = MemorySource._gate

    def gate(self: MemorySource, look: Look) -> bool:
        return not self.database.alive(look.pid) or real(self, look)

    return _swap(MemorySource, "_gate", gate)


def resync_without_epoch() -> Patch:
    """A resync goes on in the old epoch."""
    real = continuity.resynced

    def resynced(progress: Progress, *rest: Any) -> Progress:
        return replace(real(progress, *rest), epoch=progress.epoch)

    return _swap(continuity, "resynced", resynced)


def resync_without_cursor() -> Patch:
    """A resync goes on with the old cursor."""
    real = continuity.resynced

    def resynced(
        progress: Progress, documents: Sequence[Document], names: Sequence[str], found: Found,
        cursor: Cursor | None, *rest: Any,
    ) -> Progress:  # fmt: skip
        return real(progress, documents, names, found, None, *rest)

    return _swap(continuity, "resynced", resynced)


def resync_without_sweep() -> Patch:
    """A resync only loads."""
    real = continuity.started

    def started(*arguments: Any) -> Progress:
        made = real(*arguments)
        documents = {n: replace(d, load_version=0) for n, d in made.documents.items()}
        return replace(made, documents=documents)

    return _swap(continuity, "started", started)


def resync_without_load() -> Patch:
    """A resync only sweeps."""
    real = continuity.resynced

    def resynced(*arguments: Any) -> Progress:
        made = real(*arguments)
        documents = {
            n: replace(d, load=False, sweep_below=d.load_version) for n, d in made.documents.items()
        }
        return replace(made, documents=documents)

    return _swap(continuity, "resynced", resynced)


def fence_ignored() -> Patch:
    """Progress is stored whoever has stored it last."""
    real = MemoryProgress.save

    def save(self: MemoryProgress, pipeline: str, progress: Progress, fence: Fence | None) -> Fence:
        stored = self._stored.get(pipeline)
        return real(self, pipeline, progress, stored and stored[1])

    return _swap(MemoryProgress, "save", save)


def take_over_not_noticed() -> Patch:
    """The one who loses takes the other's fence and saves again."""
    real = Keeper._store_as

    def store_as(self: Keeper, progress: Progress) -> None:
        try:
            real(self, progress)
        except TakenOver:
            stored = self._stored.load()
            assert stored is not None
            self._fence = stored[1]
            real(self, progress)

    return _swap(Keeper, "_store_as", store_as)


def sweep_without_look_up() -> Patch:
    """A sweep deletes what it has found, unseen."""

    def lookup(self: MemorySource, document: str, wanted: Sequence[str], epoch: int) -> Page:
        look = self._look()
        unknown = [(f"no such key: {name}",) for name in wanted]
        page = self._build(document, unknown, epoch, look)
        return replace(page, body=page.body.replace(b"no such key: ", b""))

    return _swap(MemorySource, "lookup", lookup)


def load_version_of_another_statement() -> Patch:
    """A load's page carries the clock of a statement after it."""
    real = MemorySource.load

    def load(
        self: MemorySource, document: str, after: tuple[str, ...] | None, epoch: int, limits: Limits
    ) -> LoadPage:
        loaded = real(self, document, after, epoch, limits)
        return replace(loaded, page=_at_version(loaded.page, version_of(epoch, self.clock())))

    return _swap(MemorySource, "load", load)


def _at_version(page: Page, version: int) -> Page:
    body = page.body.replace(b'"version":%d,' % page.version, b'"version":%d,' % version)
    return replace(page, body=body, version=version)


def pruned_mark_not_asked_in_a_window() -> Patch:
    """A window that is open is read to its end, whatever was pruned."""
    real = MemorySource._check

    def check(self: MemorySource, cursor: Cursor, look: Look) -> None:
        if cursor.window is None:
            real(self, cursor, look)

    return _swap(MemorySource, "_check", check)


def index_uuid_not_compared() -> Patch:
    """Another index of the same name is written on."""
    real = continuity.changes

    def changes(progress: Progress, documents: Sequence[Document], found: Found) -> Any:
        known = {n: d.index_uuid for n, d in progress.documents.items()}
        return real(progress, documents, replace(found, indices={**found.indices, **known}))

    return _swap(continuity, "changes", changes)


def identity_not_compared() -> Patch:
    """Another history is followed as long as its clock is not below."""
    real = Keeper.check_reading

    def check_reading(self: Keeper, identity: Mapping[str, str], clock: int) -> None:
        real(self, self.progress.identity, clock)

    return _swap(Keeper, "check_reading", check_reading)


def highest_version_not_compared() -> Patch:
    """A clock below what was sent is not noticed."""

    def check_reading(self: Keeper, identity: Mapping[str, str], clock: int) -> None:
        del self, identity, clock

    return _swap(Keeper, "check_reading", check_reading)


def truncation_without_sweep() -> Patch:
    """A truncation is a page like any other."""
    real = Pipeline._send_stream

    def send_stream(self: Pipeline, stream: StreamPage) -> None:
        real(self, replace(stream, truncated=False))

    return _swap(Pipeline, "_send_stream", send_stream)


def idle_text_kept() -> Patch:
    """The text of the last idle poll outlives the connection."""
    real = MemorySource.connect

    def connect(self: MemorySource) -> None:
        old = self.connection
        real(self)
        if old is not None and self.connection is not None:
            self.connection = replace(self.connection, idle=old.idle)

    return _swap(MemorySource, "connect", connect)


def sweep_counts_before_its_deletes() -> Patch:
    """A sweep is over when its last page is read."""
    real = Pipeline._read_sweep

    def read_sweep(self: Pipeline) -> None:
        assert self._sweep is not None
        name = self._sweep[0]
        real(self)
        if self._sweep is not None and self._flights.head:
            progress = self._keeper.progress.with_document(name, sweep_below=0)
            self._keeper._progress, self._keeper.dirty = progress, True

    return _swap(Pipeline, "_read_sweep", read_sweep)


def prunes_what_is_not_stored() -> Patch:
    """What is acknowledged counts for pruning, saved or not."""
    real = Keeper.prune_if_due

    def prune_if_due(self: Keeper) -> bool:
        self._wanted_txid = self.progress.cursor.done.lowest_open
        return real(self)

    return _swap(Keeper, "prune_if_due", prune_if_due)


def prunes_to_the_end() -> Patch:
    """The oldest transaction of the cursor that is open does not count for pruning."""
    real = Keeper._prune

    def prune(
        self: Keeper, uuids: Mapping[str, str], wanted: int | None, *shares: Any
    ) -> int:
        known = wanted is not None and self._progress is not None
        return real(self, uuids, self.progress.cursor.done.xmax if known else wanted, *shares)

    return _swap(Keeper, "_prune", prune)


CASES: tuple[tuple[Callable[[], Patch], str], ...] = (
    (saved_before_the_ack, "faults"),
    (later_ack_counts, "in flight"),
    (no_rewind_after_retried, "forgets"),
    (no_rewind_after_a_failure, "faults"),
    (load_after_saved_early, "load, faults"),
    (epoch_before_stored, "resync"),
    (sent_before_the_gate, "crash"),
    (gate_asked_elsewhere, "crash"),
    (resync_without_epoch, "restored"),
    (resync_without_cursor, "pruned"),
    (resync_without_sweep, "ghosts"),
    (resync_without_load, "wiped"),
    (fence_ignored, "two"),
    (take_over_not_noticed, "two"),
    (sweep_without_look_up, "braked"),
    (load_version_of_another_statement, "load, in flight"),
    (pruned_mark_not_asked_in_a_window, "pruned"),
    (index_uuid_not_compared, "replaced"),
    (identity_not_compared, "failover"),
    (highest_version_not_compared, "restored"),
    (truncation_without_sweep, "truncate"),
    (idle_text_kept, "same text"),
    (sweep_counts_before_its_deletes, "braked"),
    (prunes_what_is_not_stored, "prunes, saved late"),
    (prunes_to_the_end, "prunes, saved late"),
    (skim_without_its_keys, "skim"),
    (seen_beyond_a_rewind, "skim"),
    (seen_in_every_window, "skim"),
    (marker_not_compared, "lossy switchover"),
    (sent_after_the_marker_not_compared, "lossy switchover"),
    (opened_after_sending, "lossy switchover"),
)
