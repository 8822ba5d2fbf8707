"""Progress in memory, for tests and for dry runs; what is stored is the JSON text."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from txid_sync.errors import SinkUnavailable, TakenOver
from txid_sync.progress.base import Fence, Progress, ProgressStore


class SaveFault(Enum):
    """What goes wrong with one save."""

    REFUSED = auto()  # SinkUnavailable, and nothing is stored
    LOST = auto()  # SinkUnavailable, but it is stored


SaveFaults = Callable[[str], SaveFault | None]


class MemoryProgress(ProgressStore):
    """Keeps progress as text; `other()` is the same store as a second instance sees it."""

    def __init__(self, faults: SaveFaults | None = None) -> None:
        self.saves = 0
        self._faults = faults
        self._stored: dict[str, tuple[str, Fence]] = {}
        self._unanswered: dict[str, str] = {}
        self._last = [0]
        self._notes: dict[tuple[str, str], str] = {}

    def other(self) -> MemoryProgress:
        """A second instance's handle on the same data, without faults."""
        store = MemoryProgress()
        store._stored, store._last, store._notes = self._stored, self._last, self._notes
        return store

    def load(self, pipeline: str) -> tuple[Progress, Fence] | None:
        """Read back what was stored."""
        if pipeline not in self._stored:
            return None
        text, fence = self._stored[pipeline]
        return Progress.from_json(text), fence

    def save(self, pipeline: str, progress: Progress, fence: Fence | None) -> Fence:
        """Compare the fence and store."""
        text = progress.to_json()
        stored, last = self._stored.get(pipeline, ("", None))
        fault = self._faults(pipeline) if self._faults else None
        if fault is SaveFault.REFUSED:
            raise SinkUnavailable("the store of progress does not answer")
        if fence != last:
            if stored not in (text, self._unanswered.get(pipeline)) or not stored:
                raise TakenOver(f"another instance saved progress of pipeline {pipeline!r}")
            if stored == text and last is not None:
                return last
        self._last[0] += 1
        self._stored[pipeline] = (text, (self._last[0], 1))
        if fault is SaveFault.LOST:
            self._unanswered[pipeline] = text
            raise SinkUnavailable("the store of progress does not answer")
        self._unanswered.pop(pipeline, None)
        self.saves += 1
        return self._stored[pipeline][1]

    def delete(self, pipeline: str) -> None:
        """Forget it."""
        self._stored.pop(pipeline, None)
        for key in [key for key in self._notes if key[0] == pipeline]:
            del self._notes[key]

    def note(self, pipeline: str, name: str, text: str) -> None:
        """Keep a text."""
        self._notes[pipeline, name] = text

    def recall(self, pipeline: str, name: str) -> str:
        """What was kept."""
        return self._notes.get((pipeline, name), "")
