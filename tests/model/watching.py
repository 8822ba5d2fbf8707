"""A verifier beside the pipelines, and somebody else who writes to the index.

A pass of the real `Verifier` is one action, whose readings pass the hook: between any two of them
pipelines may step and writers may commit.  Every key is a suspect from the start, as it would be if
it had differed at some moment before; where somebody else writes, a whole pass is made.  A pass
that something hinders, or that meets a failure, counts as none.

Invariants
----------
* no false alarm: whatever is found to differ, somebody else has written;
* nothing is missed: a pass that begins while all rest, and beside which nothing happens, finds
  exactly what differs and leaves nothing unsettled; with repair, both sides are equal afterwards.
Beside these: a repair never replaces newer content by older (`ModelSink.written`), and whatever was
written by somebody else and mended since has to be right again (coverage, equality at rest).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.model.history import text_of
from tests.model.parts import ModelSource, ModelStore
from tests.model.surroundings import A, Action, Scene, Surroundings
from tests.model.syncer import NAME, DeathError
from tests.model.world import ViolationError
from txid_sync.errors import Stop, Unavailable
from txid_sync.model import Limits, LogView, version_of
from txid_sync.progress.memory import MemoryProgress
from txid_sync.snapshot import Snapshot
from txid_sync.verifier import Verifier, VerifyOptions
from txid_sync.verify_state import DIFFERENT, Pass

VERIFIER = -1  # as the sender of a page
KEY = "1"  # whose document somebody else writes
HIGH = version_of(1000, 1)
STEPS = 20


class _Source(ModelSource):
    """Connects again when the log is asked, as that of PostgreSQL does."""

    def log(self, document: str, ids: Sequence[str], done: Snapshot, limit: int) -> LogView:
        """What the log holds of these ids that is not done."""
        self.hook("source")
        self.connect()
        return super().log(document, ids, done, limit)


class Watched(Surroundings):
    """The verifier of a scene; `foreign` are the documents that somebody else wrote last."""

    shared: MemoryProgress
    now: float
    _first: bool

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.foreign: frozenset[str] = frozenset()
        self.quiet = False  # all rest, and nothing has happened since
        self.happened = 0

    def _point(self, kind: str) -> None:
        raise NotImplementedError

    def _watch_actions(self) -> Iterator[Action]:
        if self.left.get("pass", 0):
            yield "pass", 0
        if self.left.get("tamper", 0) and A.name in self.sink.indices:
            yield from (("tamper", n) for n in range(len(self.scene.tampers)))

    def _tamper(self, n: int) -> None:
        """Somebody else writes a document, or removes it."""
        index, kind = self.sink.indices[A.name], self.scene.tampers[n]
        held = index.documents.get(KEY)
        if kind == "lose":
            index.documents.pop(KEY, None)
        else:
            low = version_of(1, 1) if held is None else held[0]
            version = HIGH if kind == "plant high" else low
            index.documents[KEY] = version, b'{"id":"1","by":"nobody"}\n'
        self.foreign |= {KEY}

    def _pass(self, _: int) -> None:
        self.sink.sender, self._first = VERIFIER, True
        may_differ, happened = self.foreign, self.happened
        differs = self._differences() if self.quiet else None
        verifier = self._verifier()
        try:
            whole = self._walk(verifier)
        except DeathError:
            return
        except Stop as error:
            raise ViolationError(f"the verifier stopped: {error}") from error
        finally:
            verifier._source.close()
        found = _ids(verifier.pass_)
        if not found <= may_differ:
            raise ViolationError(f"false alarm: {sorted(found - may_differ)}")
        if whole:
            self._settled(verifier.pass_, differs if happened == self.happened else None)
        else:
            self.left["pass"] += 1

    def _verifier(self) -> Verifier:
        source = _Source(self.database, [A], now=lambda: self.now)
        source.hook = self._point
        store = ModelStore(self.shared, self._point, lambda: None)
        options = VerifyOptions(
            Limits(documents=4), repair=self.scene.repairs, settle_seconds=0.0, gate_seconds=1.0
        )
        verifier = Verifier(
            NAME, source, self.sink, store, [A], options, seconds=lambda: self.now, now=lambda: 0.0
        )
        verifier.begin(restart=True)
        if not self.scene.tampers:
            verifier.pass_.stage = "suspects"
            verifier._suspect(self.scene.keys)
        return verifier

    @staticmethod
    def _walk(verifier: Verifier) -> bool:
        """To the end of the pass; False if something is in the way."""
        for _ in range(STEPS):
            try:
                if verifier.step() is None:
                    return True
            except Unavailable:
                return False
            if verifier.hindrance:
                return False
        raise ViolationError("the pass does not end")

    def _settled(self, found: Pass, differs: frozenset[str] | None) -> None:
        """What it has mended must be right from now on; `differs` is known if it was quiet."""
        unsettled = {id for f in found.findings.values() for id in f.first.get("unsettled", ())}
        if differs is not None and (unsettled or _ids(found) != differs):
            raise ViolationError(
                f"a quiet pass found {sorted(_ids(found))} and left {sorted(unsettled)};"
                f" what differed was {sorted(differs)}"
            )
        if self.scene.repairs:
            if differs is not None and (found.left or self._differences()):
                raise ViolationError(f"not mended: {sorted(self._differences())}")
            if not found.left:
                self.foreign -= _ids(found)

    def _differences(self) -> frozenset[str]:
        rows = self.database.rows("a", self.database.snapshot())
        index = self.sink.indices.get(A.name)
        documents = index.documents if index else {}
        held = {id: text_of(source) for id, (_, source) in documents.items()}
        keys = held.keys() | {key for (key,) in rows}
        return frozenset(k for k in keys if held.get(k) != rows.get((k,)))


def _ids(found: Pass) -> frozenset[str]:
    """Every difference; there are fewer than the first ids that are kept."""
    findings = found.findings.values()
    return frozenset(id for f in findings for kind in DIFFERENT for id in f.first.get(kind, ()))
