"""No schedule breaks the real pipeline within the bounds; every broken rule of it is found out.

Here a search ends after some thousand states, breadth first: all that can happen in few actions.
That is enough to find every broken rule; `make model` goes through all states of every scene.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from tests.model import pipeline_mutants, verify_mutants
from tests.model.pipeline_mutants import Patch
from tests.model.scenes import SCENES
from tests.model.search import explore
from tests.model.world import Outcome
from txid_sync.pipeline import Pipeline
from txid_sync.progress.base import Progress

CASES = (*pipeline_mutants.CASES, *verify_mutants.CASES)
KNOWN_FIELDS = {
    "cursor", "identity", "epoch", "highest_version", "documents", "acknowledged", "place",
    "marker", "closed", "workers", "base",
}  # fmt: skip
FIRST = 1000  # of a scene without a mutant: those are the searches of `make model`
SHORT = 2000
DEEPER = {"skim": 6500, "pruned": 5000, "lossy switchover": 6500}  # where a mutant needs it


def short(name: str) -> Outcome:
    """The first states of a scene."""
    return explore(SCENES[name], DEEPER.get(name, SHORT), whole=False)


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
    """The schedules of the scene keep all invariants (see system.py and search.py)."""
    outcome = explore(SCENES[name], FIRST, whole=False)
    record_property("states", outcome.states)
    assert outcome.violation == "", outcome.schedule
    assert outcome.states > 100


@pytest.mark.parametrize(("mutant", "name"), CASES, ids=[m.__name__ for m, _ in CASES])
def test_a_broken_pipeline_is_found(
    mutant: Callable[[], Patch], name: str, record_property: Callable[[str, object], None]
) -> None:
    """The same search finds a counterexample when one rule of the pipeline is broken."""
    with mutant():
        outcome = short(name)
    record_property("schedule", outcome.schedule)
    assert outcome.violation, f"{mutant.__name__} survives {outcome.states} states"


def test_only_a_search_that_may_be_short_leaves_states_out() -> None:
    """A scene with more states than allowed is an error, unless the first are enough."""
    states = explore(SCENES["forgets"]).states
    assert explore(SCENES["forgets"], states).states == states
    assert 100 < explore(SCENES["forgets"], 100, whole=False).states < states
    with pytest.raises(AssertionError, match="not exhaustive"):
        explore(SCENES["forgets"], 100)


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
