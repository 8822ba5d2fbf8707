"""The progress of a running pipeline: loaded, compared with source and sink, moved, saved.

What must happen when something differs is decided in continuity.py; here it is carried out.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from txid_sync import continuity
from txid_sync.continuity import Found
from txid_sync.cursor import Cursor
from txid_sync.errors import (
    Discontinuity,
    PreconditionError,
    SinkUnavailable,
    Stop,
    Unavailable,
)
from txid_sync.failpoints import Failpoint
from txid_sync.inflight import Effect
from txid_sync.model import Document, Page, Schema, epoch_of, version_of
from txid_sync.pipeline_status import PipelineOptions
from txid_sync.progress.base import Fence, Marker, Progress, ProgressStore, fresh_nonce
from txid_sync.recovery import may_be_marked, same_history
from txid_sync.share import WHOLE, Share
from txid_sync.shares import ShareProgress
from txid_sync.sinks.base import Sink
from txid_sync.sources.base import Source
from txid_sync.upkeep import Upkeep

log = logging.getLogger("txid_sync")

MAX_RESYNCS_IN_A_ROW = 5
LARGE_PAGE_DOCUMENTS = 1000
_NO_HISTORY = "the progress of the former workers does not fit together"
_ANOTHER_SOURCE = "the source is another server, database or history"


class Keeper(Upkeep):
    """Holds the progress of one pipeline and the fence under which it may be saved."""

    def __init__(
        self,
        name: str,
        source: Source,
        sink: Sink,
        store: ProgressStore,
        documents: Sequence[Document],
        options: PipelineOptions,
        failpoint: Failpoint,
        seconds: Callable[[], float],
        share: Share = WHOLE,
    ) -> None:
        self._name, self._share = name, share
        self._stored = ShareProgress(store, name, share, self._note_all, self._forget_all)
        self._may_resync, self._limits = options.may_resync, options.limits
        self._source, self._sink = source, sink
        self._documents = list(documents)
        self._failpoint, self._seconds = failpoint, seconds
        self._progress: Progress | None = None
        self._fence: Fence | None = None
        self._saved_at = self._checked_at = 0.0
        self._owned_at = seconds()
        self._checked_clock = -1
        self._in_a_row: Counter[str | None] = Counter()
        self._sent_version = 0
        self._long_loads: frozenset[str] = frozenset()
        self._prune_interval_seconds = options.prune_interval_seconds
        self._pruned_at = -math.inf
        self._wanted_txid: int | None = None
        self._marker_interval_seconds = options.marker_interval_seconds
        self._marked_at = -math.inf
        self._nothing_sent = False  # since the marker of progress was written, by anybody
        self.started = self.dirty = False
        self.schemas: Mapping[str, Schema] = {}  # as of the last look at the catalog
        self.resyncs = 0

    @property
    def progress(self) -> Progress:
        """Progress as acknowledged so far, not necessarily saved yet."""
        assert self._progress is not None, "the pipeline is not started"
        return self._progress

    def start(self, load: bool) -> None:
        """Load progress, or make the first; answer every difference from what is found."""
        self._source.connect()
        self._sink.connect()
        stored = self._stored.load()
        self._failpoint("progress-loaded")
        if stored is not None:
            self._source.resume(stored[0].identity, stored[0].place)
        found = self._look()
        if stored is None:
            cursor, clock = self._begin(found, Share.all(self._share.of))
            found = replace(found, clock=clock)
            first = continuity.first(cursor, self._documents, found, load, self._free_epoch(found))
            stored = self._stored.begin(first)
            self._saved_at = self._seconds()
            self._failpoint("progress-saved")
        self._progress, self._fence = stored
        self._wanted_txid = self.progress.cursor.done.lowest_open
        self._nothing_sent = self.progress.closed
        self._compare(found)
        self.started = True

    def _free_epoch(self, found: Found) -> int:
        """An epoch above what an earlier life has left in the indices, as far as a look tells.

        Should one document be of a higher epoch still, its version will be noticed.
        """
        adopted = [d.name for d in self._documents if d.name not in found.fresh]
        chunks = [next(iter(self._sink.scan(name)), ()) for name in adopted]
        return 1 + max((epoch_of(version) for chunk in chunks for _, version in chunk), default=0)

    def apply(self, effect: Effect, page: Page | None, dead_letters: int) -> None:
        """Move progress over an acknowledged page (None: over an end that sends nothing)."""
        moved = effect(self.progress)
        if page is not None:
            moved = replace(
                moved,
                highest_version=max(moved.highest_version, page.version),
                place=max(moved.place, page.place),
                acknowledged=moved.acknowledged.plus(page.read_documents, dead_letters),
            )
        self.dirty = self.dirty or moved != self._progress
        self._progress = moved

    def sends(self, page: Page) -> None:
        """Note that the sink may hold this page from now on, whatever becomes of its answer."""
        self._nothing_sent = False
        if self.progress.closed:
            self._store_as(replace(self.progress, closed=False))
        self._sent_version = max(self._sent_version, page.version)

    def reads_load(self, page: Page, last: bool) -> None:
        """Tell the sink when a large page shows that the load of an index that was made for it is
        long, and, before progress can say so, that a load ends: any, for a resync may have come in
        the middle of the first."""
        name = page.document
        if last:
            self._sink.load_ends(name)
            self._long_loads -= {name}
        elif name not in self._long_loads and self._is_long(page):
            self._long_loads |= {name}
            try:
                self._sink.load_begins(name)
            except SinkUnavailable as error:  # whether it takes documents, its answers tell
                log.debug("%s is loaded with its usual refreshes: %s", name, error.message)

    def _is_long(self, page: Page) -> bool:
        if self.progress.documents[page.document].load_version:  # it was there before
            return False
        documents = min(LARGE_PAGE_DOCUMENTS, self._limits.documents)
        return page.documents >= documents or 2 * len(page.body) >= self._limits.body_bytes

    def settled(self) -> None:
        """The sink is complete: whatever was written again has helped."""
        self._in_a_row.clear()
        if self._seconds() - self._marked_at >= self._marker_interval_seconds:
            self._mark()

    def close(self) -> None:
        """Nothing is under way any more: store progress, and that it is so."""
        if not self.dirty and not self._marker_interval_seconds:
            return
        self._mark()
        if self._nothing_sent and not self.progress.closed:
            self._store_as(replace(self.progress, closed=True))
        elif self.dirty:
            self.save()

    def _mark(self) -> None:
        """Write a marker and remember it, if anything was sent or counted since the last one.

        What a process that died has sent was read again before this one came to rest.
        """
        progress, last = self.progress, self.progress.marker
        moved = last is None or last.version != progress.highest_version
        may = self._marker_interval_seconds and may_be_marked(progress.identity)
        if not may or (self._nothing_sent and not moved):
            return
        self._marked_at, nonce = self._seconds(), fresh_nonce()
        try:
            repair = self._stored.repair()
            identity = self._source.mark(self._marker_name(), nonce)
        except Unavailable as error:  # a connection that is lost shows in the next poll
            log.debug("%s: the marker is written later", error.message)
            return
        except Stop as error:
            self._marker_interval_seconds = 0.0
            log.warning("no marker is written: %s", error, extra={"action": "marker"})
            return
        if dict(identity) == dict(progress.identity):  # else another server has answered
            marker = Marker(nonce, progress.highest_version, repair)
            self._store_as(replace(progress, marker=marker))
            self._nothing_sent = True

    def _marker_name(self) -> str:
        """Of every worker its own; pipelines of one name may fill several indices."""
        return min(
            self._reader(self._share, entry.index_uuid)
            for entry in self.progress.documents.values()
        )

    def save(self) -> None:
        """Store progress; raises TakenOver if another instance did so meanwhile."""
        self._store_as(self.progress)

    def _store_as(self, progress: Progress) -> None:
        """Store this progress, and only then go by it."""
        self._fence = self._stored.save(progress, self._fence)
        self._progress = progress
        self._wanted_txid = progress.cursor.done.lowest_open
        self.dirty = False
        self._saved_at = self._seconds()
        self._failpoint("progress-saved")

    def save_if_due(self, interval_seconds: float) -> None:
        """Store progress if it has moved and the last time is long enough ago."""
        if self.dirty and self._seconds() - self._saved_at >= interval_seconds:
            self.save()

    # -- checks while running ---------------------------------------------------------------

    def check_reading(self, identity: Mapping[str, str], clock: int) -> None:
        """Raise Discontinuity if this reading cannot come from the source that progress is of."""
        if not same_history(self.progress.identity, identity) and not self._adopted(identity):
            raise Discontinuity(_ANOTHER_SOURCE if self.progress.identity else _NO_HISTORY)
        if dict(identity) != dict(self.progress.identity):
            self._progress, self.dirty = replace(self.progress, identity=dict(identity)), True
        highest = max(self.progress.highest_version, self._sent_version)
        if version_of(self.progress.epoch, clock) < highest:
            raise Discontinuity(
                f"the source went back: its clock is {clock}, versions up to {highest} were sent"
            )

    def _adopted(self, identity: Mapping[str, str]) -> bool:
        """Whether the source is the same in another timeline, and has all that progress counts."""
        marker = self.progress.marker
        if marker is None or not self._nothing_sent or self._stored.repair() != marker.repair:
            return False
        try:
            told, nonce = self._source.marker(self._marker_name())
        except PreconditionError:
            return False
        here = dict(told) == dict(identity)  # else yet another server has answered
        if not here or not continuity.proved(self.progress, told, nonce, self._nothing_sent):
            return False
        self._store_as(replace(self.progress, identity=dict(identity)))
        log.info("%s", _SAME_HISTORY, extra={"action": "adopted"})
        return True

    def check_owner(self, interval_seconds: float) -> None:
        """Now and then: raise TakenOver if progress was saved by somebody else, also when idle."""
        now = self._seconds()
        if self.dirty or now - self._owned_at < interval_seconds:
            return
        self._owned_at = now
        self._stored.check(self._fence)

    def look_soon(self) -> None:
        """Let the next `check_catalog` look at once."""
        self._checked_clock = -1

    def check_catalog(self, clock: int, interval_seconds: float) -> None:
        """Now and then, if something has ended in the source: compare catalog and indices."""
        now = self._seconds()
        due = now - self._checked_at >= interval_seconds and clock != self._checked_clock
        if not due and self._checked_clock != -1:
            return
        self._checked_at, self._checked_clock = now, clock
        self.schemas, uuids = self._source.describe(), self._sink.uuids()
        indices = {document.name: uuids.get(document.name, "") for document in self._documents}
        found = Found(self._source.identity(), clock, self.schemas, indices)
        for change in continuity.changes(self.progress, self._documents, found):
            raise Discontinuity(f"{change.document} {change.what}", document=change.document)

    def _begin(self, found: Found, shares: Sequence[Share] = ()) -> tuple[Cursor, int]:
        """A new cursor; nobody prunes what it will want, for that is noted before."""
        self._prune(found.indices, None, shares)
        return self._source.begin()

    # -- resync -----------------------------------------------------------------------------

    def resync(
        self,
        error: Discontinuity,
        found: Found | None = None,
        new_epoch: bool = False,
        asked: bool = False,
    ) -> None:
        """Answer a discontinuity: load and sweep to be done, saved before anything is sent.

        Raises PreconditionError where only an operator may ask for that.
        """
        if not asked:
            self._ask_operator(error.message)
        if self._in_a_row[error.document] >= MAX_RESYNCS_IN_A_ROW:
            raise PreconditionError(f"resync does not help: {error.message}", error.hint)
        log.warning("%s: resync", error.message, extra={"action": "resync"})
        if found is None:
            self._source.close()
            self._source.connect()
            found = self._look()
        same = same_history(self.progress.identity, found.identity)
        if error.document is not None and same:
            differences = continuity.changes(self.progress, self._documents, found)
            new_epoch = new_epoch or any(change.new_epoch for change in differences)
            minimum = max(error.minimum_epoch, self.progress.epoch + 1 if new_epoch else 0)
            differing = {error.document, *(change.document for change in differences)}
            self._write_again(found, sorted(differing), None, minimum)
            self._in_a_row[error.document] += 1
            return
        cursor, clock = self._begin(found)
        minimum = max(self.progress.epoch + 1, error.minimum_epoch)
        names = [document.name for document in self._documents]
        self._write_again(replace(found, clock=clock), names, cursor, minimum)
        self._in_a_row[None] += 1

    def _ask_operator(self, what: str) -> None:
        if not self._may_resync:
            raise PreconditionError(
                f"{what}: a resync is needed, and on_discontinuity is 'stop'",
                "see that this was meant, then run 'txid-sync resync'",
            )

    def _look(self) -> Found:
        schemas = self.schemas = self._source.describe()
        states = self._sink.prepare(self._documents, schemas)
        self._failpoint("index-prepared")
        return Found(
            identity=self._source.identity(),
            clock=self._source.clock(),
            schemas=schemas,
            indices={name: state.uuid for name, state in states.items()},
            fresh=tuple(name for name, state in states.items() if state.created),
        )

    def _compare(self, found: Found) -> None:
        """At start: answer every difference between progress and what was found."""
        try:
            self.check_reading(found.identity, found.clock)
        except Discontinuity as error:
            self.resync(error, found)
            return
        known = {document.name for document in self._documents}
        gone = sorted(set(self.progress.documents) - known)
        for name in gone:
            table = self.progress.documents[name].table.replace("'", "''")
            log.warning(_DROPPED, name, table, extra={"action": "dropped"})
        differences = continuity.changes(self.progress, self._documents, found)
        for change in differences:
            if change.document in self.progress.documents:
                self._ask_operator(f"{change.document} {change.what}")
            log.warning("%s %s: load and sweep", change.document, change.what)
        if differences or gone:
            new = any(change.new_epoch for change in differences)
            names = [change.document for change in differences]
            self._write_again(found, names, None, self.progress.epoch + 1 if new else 0)

    def _write_again(
        self, found: Found, names: Sequence[str], cursor: Cursor | None, minimum_epoch: int
    ) -> None:
        self._store_as(
            continuity.resynced(
                self.progress, self._documents, names, found, cursor, minimum_epoch
            )
        )
        self._long_loads -= {*names}
        self.resyncs += 1
        self._failpoint("resync-stored")


_SAME_HISTORY = (
    "the source has another timeline, and holds the marker that was written last: nothing is lost,"
    " going on where it was"
)
_DROPPED = (
    "%s is not configured any more and no longer synced: its index stays as it is (delete it if it "
    "is not needed), its table is still captured; to end that: select txid_sync.untrack('%s')"
)
