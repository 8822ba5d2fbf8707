"""Rules of the verifier, each broken in the real classes for the time of one search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest import mock

from txid_sync import verify
from txid_sync.model import Document, Held, Page, version_of
from txid_sync.sources.memory import MemorySource
from txid_sync.verifier import Verifier
from txid_sync.verify import Evidence

Patch = AbstractContextManager[Any]


def log_not_asked() -> Patch:
    """Whatever differs counts, read by the pipeline or not."""
    return mock.patch.object(verify, "unread_of", return_value=set())


def verifier_without_gate() -> Patch:
    """What the verifier read counts although a crash may take it back."""
    return mock.patch.object(Verifier, "_wait_for_gate")


def documents_before_progress() -> Patch:
    """The documents are read first, then the progress that is to vouch for them."""
    real = Verifier._evidence

    def evidence(self: Verifier, document: Document, ids: Sequence[str]) -> Evidence | None:
        held = self._sink.fetch(document.name, ids)
        found = real(self, document, ids)
        return None if found is None else replace(found, held=held)

    return mock.patch.object(Verifier, "_evidence", evidence)


def versions_alone() -> Patch:
    """A document of any content stands for its row."""

    def same(row: bytes | None, held: Held | None) -> bool:
        return (row is None) == (held is None)

    return mock.patch.object(verify, "same", same)


def another_server_not_noticed() -> Patch:
    """Rows of another history are compared too."""
    return mock.patch.object(verify, "hindrance_of_reading", return_value="")


def verified_during_a_resync() -> Patch:
    """A load or a sweep that is not finished hinders nothing."""
    real = verify.hindrance

    def hindrance(*arguments: Any) -> str:
        reason = real(*arguments)
        return "" if "is not finished" in reason else reason

    return mock.patch.object(verify, "hindrance", hindrance)


def repair_below_what_stands() -> Patch:
    """A repair is written under the version of its look-up, whatever stands there."""
    return mock.patch.object(verify, "raised", lambda page, held: page)


def repair_of_another_version() -> Patch:
    """What was read carries the version of a statement after it."""
    real = MemorySource.lookup

    def lookup(self: MemorySource, document: str, wanted: Sequence[str], epoch: int) -> Page:
        page = real(self, document, wanted, epoch)
        version = version_of(epoch, self.clock())
        body = page.body.replace(b'"version":%d,' % page.version, b'"version":%d,' % version)
        return replace(page, body=body, version=version)

    return mock.patch.object(MemorySource, "lookup", lookup)


def repairs_not_noted() -> Patch:
    """A marker is believed to speak of what a verifier sent."""
    return mock.patch.object(Verifier, "_note_repair")


CASES: tuple[tuple[Callable[[], Patch], str], ...] = (
    (log_not_asked, "verify"),
    (documents_before_progress, "verify"),
    (verifier_without_gate, "verify, crash"),
    (verified_during_a_resync, "verify, resync"),
    (another_server_not_noticed, "verify, failover"),
    (versions_alone, "verify, foreign"),
    (repair_below_what_stands, "repair"),
    (repairs_not_noted, "repair, switchover"),
    (repair_of_another_version, "repair, faults"),
)
