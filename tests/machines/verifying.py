"""Verifiers inside the pipeline machine: at any moment no alarm, once quiet every difference."""

from __future__ import annotations

import json
from typing import Protocol

from txid_sync.errors import Unavailable
from txid_sync.model import Document, Limits, version_of
from txid_sync.progress.memory import MemoryProgress
from txid_sync.shares import stored_shares
from txid_sync.sinks.memory import MemorySink
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.memory_database import MemoryDatabase
from txid_sync.verifier import Verifier, VerifyOptions
from txid_sync.verify_state import DIFFERENT, Pass

KINDS = ("lose", "alter", "plant", "plant high")


class Surroundings(Protocol):
    """What a verifier works on."""

    database: MemoryDatabase
    sink: MemorySink
    store: MemoryProgress
    documents: tuple[Document, ...]
    now_seconds: float

    def table(self, name: str) -> dict[str, object]:
        """The rows of a table as its documents."""


class Verifying:
    """A verifier that goes on from rule to rule, and whole passes."""

    def __init__(self, system: Surroundings, verifier_class: type[Verifier] = Verifier) -> None:
        self._system, self._class = system, verifier_class
        self._verifiers: dict[bool, Verifier] = {}

    def step(self, steps: int, repair: bool) -> None:
        """Some steps of a pass that nothing waits for; whatever it finds is a false alarm."""
        verifier = self._verifiers.setdefault(repair, self._verifier(repair))
        for _ in range(steps):
            try:
                ended = verifier.step() is None
            except Unavailable:
                continue
            assert verifier.pass_.left == 0, ("false alarm", verifier.pass_)
            assert not any(f.differences for f in verifier.pass_.findings.values())
            if ended:
                del self._verifiers[repair]
                return

    def find_planted(self, name: str, key: str, kind: str) -> None:
        """Plant a difference in a quiet system: exactly that is found; repair mends it."""
        self._plant(name, key, kind)
        want = self._differences()
        for repair in (False, True):
            found = self._whole(repair)
            assert found.unsettled == 0
            assert self._ids(found) == want, (kind, found)
        assert self._differences() == set()
        assert self._ids(self._whole(False)) == set()

    def _plant(self, name: str, key: str, kind: str) -> None:
        index = self._system.sink.indices[name]
        stored = stored_shares(self._system.store, "main").values()
        low = version_of(1, 1)
        if kind == "lose":
            index.documents.pop(key, None)
        elif kind == "alter" and key in index.documents:
            index.documents[key] = (index.documents[key][0], b'{"k":"altered"}')
        elif kind == "plant high":
            # Above all that could ever come from here: an epoch too many would be nobody's.
            high = version_of(max(progress.epoch for progress in stored) + 100, 5)
            index.documents[key] = (high, b'{"k":"planted"}')
        else:
            index.documents[key] = (low, b'{"k":"planted"}')

    def _differences(self) -> set[tuple[str, str]]:
        found = set()
        for document in self._system.documents:
            held = {
                id: json.loads(text)
                for id, text in self._system.sink.documents(document.name).items()
            }
            rows = self._system.table(document.table)
            found |= {
                (document.name, id) for id in held.keys() | rows.keys()
                if held.get(id) != rows.get(id)
            }  # fmt: skip
        return found

    @staticmethod
    def _ids(found: Pass) -> set[tuple[str, str]]:
        """Every difference; there are fewer than the first ids that are kept."""
        return {
            (f.document, id) for f in found.findings.values()
            for kind in DIFFERENT for id in f.first.get(kind, ())
        }  # fmt: skip

    def _whole(self, repair: bool) -> Pass:
        verifier = self._verifier(repair)
        for _ in range(500):
            if verifier.step() is None:
                return verifier.pass_
            assert not verifier.hindrance, verifier.hindrance
        raise AssertionError("the pass does not end")

    def _verifier(self, repair: bool) -> Verifier:
        system = self._system
        source = MemorySource(system.database, system.documents)
        verifier = self._class(
            "main", source, system.sink, system.store.other(), system.documents,
            VerifyOptions(Limits(documents=2), repair=repair, settle_seconds=0.0),
            seconds=lambda: system.now_seconds,
        )  # fmt: skip
        verifier.begin(restart=True)
        return verifier
