"""The real pipeline with one rule about order broken: what dying at every effect must find."""

from __future__ import annotations

from typing import Any

from txid_sync.errors import Discontinuity
from txid_sync.inflight import Effect, Flight
from txid_sync.model import Ack, Page
from txid_sync.pipeline import Pipeline
from txid_sync.progress.base import Progress


class MovesWhenSent(Pipeline):
    """Progress moves over a page as soon as it is sent."""

    def _send(
        self, page: Page, effect: Effect, complete_clock: int = 0, closes: bool = False
    ) -> bool:
        sent = super()._send(page, lambda progress: progress, complete_clock, closes)
        self._keeper.apply(effect, page, 0)
        return sent


class MovesToTheLastSent(Pipeline):
    """An acknowledged page moves the cursor to the page that was read last."""

    def _acknowledge(self, flight: Flight, ack: Ack) -> None:
        def effect(progress: Progress) -> Progress:
            for later in self._flights._flights:
                progress = later.effect(progress)
            return progress

        super()._acknowledge(flight, ack)
        self._keeper.apply(effect, None, 0)


class LoadDoneWhenRead(Pipeline):
    """A load is done when its last page was read, whatever has been acknowledged."""

    def _read_load(self, name: str, entry: Any) -> None:
        super()._read_load(name, entry)
        if self._load_after[name] is None:
            done = {"load": False, "load_after": None}
            self._keeper.apply(lambda p: p.with_document(name, **done), None, 0)


class SweepsBeforeTheAnswers(Pipeline):
    """A sweep counts as done when it begins."""

    def _begin_sweep(self, name: str) -> None:
        super()._begin_sweep(name)
        self._keeper.apply(lambda p: p.with_document(name, sweep_below=0), None, 0)


class EpochStoredLate(Pipeline):
    """A resync is begun before it is stored."""

    def _resync(self, error: Discontinuity, asked: bool = False) -> None:
        keeper = self._keeper
        store_as = keeper._store_as

        def keep(progress: Progress) -> None:
            keeper._progress, keeper.dirty = progress, True

        keeper._store_as = keep  # type: ignore[method-assign]
        super()._resync(error, asked)
        keeper._store_as = store_as  # type: ignore[method-assign]


ALL = (
    MovesWhenSent, MovesToTheLastSent, LoadDoneWhenRead, SweepsBeforeTheAnswers,
    EpochStoredLate,
)  # fmt: skip
