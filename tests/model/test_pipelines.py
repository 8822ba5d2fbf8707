"""No schedule breaks the real pipeline within the bounds; every broken rule of it is found out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from tests.model import pipeline_mutants, verify_mutants
from tests.model.pipeline_mutants import Patch
from tests.model.scenes import SCENES
from tests.model.search import explore
from txid_sync.pipeline import Pipeline
from txid_sync.progress.base import Progress

CASES = (*pipeline_mutants.CASES, *verify_mutants.CASES)
KNOWN_FIELDS = {
    "cursor", "identity", "epoch", "highest_version", "documents", "acknowledged", "place",
    "marker", "closed", "workers", "base",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A search sees thousands of resyncs; none is worth a line."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", SCENES)
def test_no_schedule_breaks_the_pipeline(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    """Every schedule of the scene keeps all invariants (see system.py and search.py)."""
    outcome = explore(SCENES[name])
    record_property("states", outcome.states)
    assert outcome.violation == "", outcome.schedule
    assert outcome.states > 100


@pytest.mark.parametrize(("mutant", "name"), CASES, ids=[m.__name__ for m, _ in CASES])
def test_a_broken_pipeline_is_found(
    mutant: Callable[[], Patch], name: str, record_property: Callable[[str, object], None]
) -> None:
    """The same search finds a counterexample when one rule of the pipeline is broken."""
    with mutant():
        outcome = explore(SCENES[name])
    record_property("schedule", outcome.schedule)
    assert outcome.violation, f"{mutant.__name__} survives {outcome.states} states"


def test_every_pipeline_mutant_is_tried() -> None:
    """No mutant is left out of the table."""
    made = {
        value for module in (pipeline_mutants, verify_mutants) for value in vars(module).values()
        if getattr(value, "__annotations__", {}).get("return") == "Patch"
        and not value.__name__.startswith("_")
    }  # fmt: skip
    assert {mutant for mutant, _ in CASES} == made
    assert len(made) >= 12


def test_progress_has_no_field_that_the_search_overlooks() -> None:
    """States are told apart by every field of progress but its counts; a new one needs a place."""
    assert set(Progress.__slots__) == KNOWN_FIELDS


def test_the_pipeline_keeps_its_state_where_it_is_put_back() -> None:
    """A pipeline has no slots: whatever it remembers is in its `__dict__`, and is put back."""
    assert not hasattr(Pipeline, "__slots__")
