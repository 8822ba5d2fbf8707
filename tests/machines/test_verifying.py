"""The pipeline's state machine with verifiers: never a false alarm, every planted difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.machines.pipelines import PipelineSystem
from tests.machines.support import finds, search
from tests.machines.test_pipeline import PipelineMachine, tables
from tests.machines.verifying import KINDS
from txid_sync import verify
from txid_sync.errors import TxidSyncError
from txid_sync.model import Document, Held
from txid_sync.verifier import Verifier
from txid_sync.verify import Evidence


class VerifyMachine(PipelineMachine):
    """Verifiers at any moment of whatever else happens."""

    verifier_class: type[Verifier] = Verifier

    def __init__(self) -> None:
        super().__init__()
        self.system = PipelineSystem(verifier_class=type(self).verifier_class)

    @rule(steps=st.sampled_from([1, 1, 2, 5, 40]), repair=st.booleans())
    def verify(self, steps: int, repair: bool) -> None:
        """A verifier goes on: it never finds anything."""
        self.system.verifying.step(steps, repair)

    @rule(name=tables, key=st.sampled_from("1239"), kind=st.sampled_from(KINDS))
    def somebody_else_writes(self, name: str, key: str, kind: str) -> None:
        """A difference that is planted in a quiet system is found, and mended."""
        self.system.drain()
        if any(document.name == name for document in self.system.documents):
            self.system.verifying.find_planted(name, key, kind)


def test_no_verifier_raises_a_false_alarm(seed: int) -> None:
    """No schedule makes a verifier find what is not there, or miss what was planted."""
    search(VerifyMachine, seed, examples=120, steps=40)


class ReadsOnlyVersions(Verifier):
    """Misses contents: a document of any version stands for its row."""

    def _read_rows(self, document: Document, progress: object) -> int:  # type: ignore[override]
        same = verify.same

        def version_alone(row: bytes | None, held: Held | None) -> bool:
            return (row is None) == (held is None)

        verify.same = version_alone
        try:
            return super()._read_rows(document, progress)  # type: ignore[arg-type]
        finally:
            verify.same = same


class RepairsUnderItsOwnVersion(Verifier):
    """Writes a repair under the version of its look-up, whatever stands there."""

    def _repair(self, document: Document, ids: Sequence[str], evidence: Evidence) -> set[str]:
        held: Mapping[str, Held] = {}
        return super()._repair(document, ids, replace(evidence, held=held))


# Only rules that random schedules find soon; test_verifier.py has one for every rule.
BROKEN = (ReadsOnlyVersions, RepairsUnderItsOwnVersion)


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_verifier_is_found(broken: type[Verifier]) -> None:
    """The machine is sharp: a verifier that leaves out one rule fails."""
    machine = type("Broken", (VerifyMachine,), {"verifier_class": broken})
    assert finds(machine, 1500, 40, AssertionError, TxidSyncError)
