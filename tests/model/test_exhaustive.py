"""The real rules hold in every schedule; every broken rule is found out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.model import mutants
from tests.model.explorer import Explorer
from tests.model.profiles import PROFILES
from txid_sync.sources.memory import MemorySource

CASES: list[tuple[type[MemorySource], str]] = [
    (mutants.SnapshotAfterRows, "tables"),
    (mutants.LastPagesSnapshot, "tables"),
    (mutants.NoXipWhenReading, "tables"),
    (mutants.NoXipWhenClosing, "tables"),
    (mutants.OrderedByKey, "batches"),
    (mutants.CountedAfterJoin, "deletes"),
    (mutants.GreatestOfEachColumn, "batches of three"),
    (mutants.IdleTextKept, "two phase"),
    (mutants.NotRowBound, "image"),
    (mutants.GateOnAnyConnection, "two phase"),
    (mutants.NoGate, "two phase"),
    (mutants.EmptyPollAdvances, "two phase"),
    (mutants.EmptyPollAdvancesBeyond, "tables"),
    (mutants.WindowRenewedAtRestart, "restart"),
    (mutants.UnacknowledgedPageCounts, "zombies"),
]


@pytest.mark.parametrize("name", PROFILES)
def test_no_schedule_breaks_the_rules(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    """Every schedule within the bounds keeps all invariants (see explorer.py)."""
    outcome = Explorer(PROFILES[name]).run()
    record_property("states", outcome.states)
    assert outcome.violation == "", outcome.schedule
    assert outcome.states > 1000


@pytest.mark.parametrize(("mutant", "name"), CASES, ids=[m.__name__ for m, _ in CASES])
def test_a_broken_rule_is_found(
    mutant: type[MemorySource], name: str, record_property: Callable[[str, object], None]
) -> None:
    """The same walk finds a counterexample for the source with one rule broken."""
    outcome = Explorer(PROFILES[name], mutant).run()
    record_property("schedule", outcome.schedule)
    assert outcome.violation, f"{mutant.__name__} survives {outcome.states} states"


def test_every_mutant_is_tried() -> None:
    """No mutant is left out of the table above."""
    assert {mutant for mutant, _ in CASES} == set(mutants.ALL)
