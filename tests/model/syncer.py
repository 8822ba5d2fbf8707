"""A process that runs the real pipeline as the daemon does, and that can be kept and put back."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from tests.model.parts import Answer, Chunks, Frozen, ModelSink, ModelSource, ModelStore
from txid_sync.errors import Unavailable
from txid_sync.pipeline import Pipeline
from txid_sync.progress.base import Counts, DocumentProgress, Progress

NAME = "main"
MOVABLE = {dict, list, set, deque, Counter}
TIMES = ("_saved_at", "_checked_at", "_owned_at", "_pruned_at", "_marked_at")
# What decides nothing: figures, and what is the same for the whole life of an object.
FIGURES = {"resyncs", "schemas"}
FIXED = {
    "name", "_name", "_source", "_sink", "_store", "_documents", "_options", "_failpoint",
    "_seconds", "_keeper", "_flights", "_share", "_stored",
}  # fmt: skip
IGNORED = FIXED | FIGURES | {"_sweep", "_fence", "_backlog"}  # these have a place of their own
COUNTS = [f.name for f in fields(Counts)]
TASK_COUNTS = ("load_documents", "sweep_candidates")


class DeathError(BaseException):
    """The process is killed here."""


@dataclass(slots=True)
class Process:
    """What one process holds."""

    source: ModelSource
    store: ModelStore
    pipeline: Pipeline
    ready: bool = False
    failed: bool = False

    def step(self) -> bool:
        """What the daemon does in one turn; False: nothing was to be done.  Raises Stop."""
        try:
            if not self.ready:
                self.pipeline.start()
                self.ready = True
                return True
            busy = self.pipeline.recover_and_step() if self.failed else self.pipeline.step()
        except Unavailable:
            self.failed = self.ready
            return True
        self.failed = False
        return busy

    def freeze(self) -> Frozen:
        """All volatile state, as values."""
        pipeline = self.pipeline
        flights = pipeline._flights
        sweep: Any = pipeline._sweep
        if sweep is not None:
            sweep = (*sweep[:2], sweep[2].freeze())
        state = {**_values(pipeline.__dict__), "_sweep": sweep}
        store = dict(self.store._unanswered)
        return (
            self.source, self.store, pipeline, self.ready, self.failed, self.source.connection,
            store, state, _values(pipeline._keeper.__dict__), tuple(flights._flights),
            flights._allowed, flights._share,
        )  # fmt: skip

    @classmethod
    def thawed(cls, frozen: Frozen) -> Process:
        """The process as it was; objects are reused, their state is not."""
        source, store, pipeline, ready, failed, connection, answers, state, keeper, *rest = frozen
        source.connection = connection
        store._unanswered = dict(answers)
        pipeline.__dict__.update(_values(state))
        if state["_sweep"] is not None:
            name, below, chunks = state["_sweep"]
            pipeline._sweep = name, below, Chunks.thawed(chunks)
        pipeline._keeper.__dict__.update(_values(keeper))
        pipeline._flights._flights = deque(rest[0])
        pipeline._flights._allowed, pipeline._flights._share = rest[1:]
        return cls(source, store, pipeline, ready, failed)

    def key(self, sink: ModelSink, alive: bool, now: float, stored: Any) -> tuple[object, ...]:
        """All that decides what happens from here on, as a hashable value."""
        pipeline, keeper, connection = self.pipeline, self.pipeline._keeper, self.source.connection
        idle = connection.idle if connection is not None and alive else None
        text, fence = stored or ("", None)
        fields_of = [*_decisive(pipeline.__dict__, now), *_decisive(keeper.__dict__, now)]
        sweep: Any = pipeline._sweep
        at = sweep and (sweep[:2], tuple(sweep[2].told), sweep[2].taken)
        own = "none" if keeper._fence is None else keeper._fence == fence
        unanswered = self.store._unanswered.get(NAME) == text
        return (
            self.ready, self.failed, alive, idle, own, unanswered and own is not True,
            tuple(fields_of), at, self._backlog_key(), pipeline._flights._allowed,
            pipeline._flights._share, self._flight_keys(sink),
            _ahead(keeper._progress, text),
        )  # fmt: skip

    def _backlog_key(self) -> object:
        """What was skimmed, the skim's own page by its place and its gate."""
        backlog, connection = self.pipeline._backlog, self.source.connection
        skimmed: Any = backlog.skimmed
        if skimmed is None:
            return backlog
        look = skimmed.page.ready.args[0]
        alive = connection is not None and connection.pid == look.pid
        flushed = self.source.database.flushed >= look.inserted
        place = skimmed.next, skimmed.truncated, skimmed.page.version, alive, flushed
        return replace(backlog, skimmed=None), place

    def _flight_keys(self, sink: ModelSink) -> tuple[object, ...]:
        """Each flight by its page, its answer, and what progress becomes by it."""
        found = []
        progress = self.pipeline._keeper._progress
        for flight in self.pipeline._flights._flights:
            assert progress is not None
            progress = flight.effect(progress)
            page = None if flight.page is None else (flight.page.document, flight.page.body)
            answer: Any = flight.answer
            outcome = answer.outcome if isinstance(answer, Answer) else answer.result()
            sent = sink.sent[answer.ticket] if outcome is None else None
            found.append((
                page, repr(outcome), sent is not None and sent.again, flight.complete_clock,
                flight.closes_window, progress_key(progress),
            ))  # fmt: skip
        return tuple(found)

    def tickets(self) -> set[int]:
        """The tickets of the pages under way."""
        answers: list[Any] = [flight.answer for flight in self.pipeline._flights._flights]
        return {answer.ticket for answer in answers if isinstance(answer, Answer)}


def _values(fields_of: dict[str, Any]) -> dict[str, Any]:
    """The fields that may change, containers copied."""
    return {
        n: v.copy() if type(v) in MOVABLE else v for n, v in fields_of.items() if n not in FIXED
    }


def _decisive(fields_of: dict[str, Any], now: float) -> list[object]:
    """Every field but figures and fixed ones; so that a new one is never forgotten."""
    found: list[object] = []
    for name, value in fields_of.items():
        if name in IGNORED:
            continue
        if name in TIMES:
            found.append(now > value)
        elif isinstance(value, Progress):
            found.append(progress_key(value))
        elif isinstance(value, dict):
            found.append(tuple(sorted(value.items(), key=repr)) if value else None)
        else:
            found.append(value)
    return found


def progress_key(progress: Progress) -> tuple[object, ...]:
    """Progress without its counts, hashable."""
    return (
        progress.cursor, progress.epoch, progress.highest_version, progress.place,
        progress.marker, progress.closed, progress.workers, progress.base,
        *sorted(progress.identity.items()), *sorted(_uncounted(progress).items()),
    )  # fmt: skip


def _uncounted(progress: Progress) -> dict[str, DocumentProgress]:
    return {
        name: replace(entry, load_documents=0, sweep_candidates=0)
        for name, entry in progress.documents.items()
    }


def _ahead(progress: Progress | None, text: str) -> object:
    """Counts beside the stored ones: they tell whether two instances' texts will be equal."""
    if progress is None or not text:
        return None
    mine, theirs = _counts(progress), _counts(parsed(text))
    return tuple((key, mine[key] - theirs.get(key, 0)) for key in mine)


def _counts(progress: Progress) -> dict[str, int]:
    found = {name: getattr(progress.acknowledged, name) for name in COUNTS}
    for document, entry in progress.documents.items():
        found |= {f"{document} {name}": getattr(entry, name) for name in TASK_COUNTS}
    return found


def stored_key(text: str) -> object:
    """Stored progress, without its counts."""
    return progress_key(parsed(text)) if text else None


@lru_cache(maxsize=50_000)
def parsed(text: str) -> Progress:
    """Stored progress."""
    return Progress.from_json(text)
