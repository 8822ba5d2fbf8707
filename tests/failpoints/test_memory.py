"""A process dies before and after every effect it has, once and twice; the end is equal."""

from __future__ import annotations

import collections.abc
import itertools
import random
import typing
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace

import pytest

from tests.failpoints import histories, mutants
from tests.failpoints.effects import Effects, calls_of
from tests.failpoints.world import REST, Step, World, run
from txid_sync.failpoints import NAMES, RESYNC_NAMES
from txid_sync.model import LoadPage, LogView, Page, Reading, StreamPage
from txid_sync.pipeline import Pipeline
from txid_sync.progress.base import ProgressStore
from txid_sync.sinks.base import Sink
from txid_sync.sources.base import Source

BASES = (Source, Sink, ProgressStore)
# The last two are called when the number of workers changes: tests/unit/test_workers_change.py.
NEVER_CALLED = {"Sink.dead_letters", "Sink.close", "ProgressStore.delete", "Source.forget"}
# The verifier's own (test_verifier.py lets it die there), and what explain asks.
VERIFIERS = {
    "Source.log", "Source.key_of", "Sink.adopt", "Sink.fetch", "Sink.listing", "Sink.letters",
    "ProgressStore.note",
}  # fmt: skip
PAIRS = 60

every_history = pytest.mark.parametrize("history", histories.ALL, ids=lambda h: h.__name__)


def effects_of(history: histories.History, slow: bool = False) -> list[str]:
    """The effects of a process that is left alone."""
    return run(history, slow=slow)[1][0].names


@every_history
@pytest.mark.parametrize("slow", [False, True], ids=["prompt", "slow"])
def test_A17_a_process_may_die_at_every_effect(history: histories.History, slow: bool) -> None:
    """Death at effect k, for every k: before it with a slow sink, after it with a prompt one.

    After the deaths before an effect the world goes on while nobody runs.
    """
    total = len(effects_of(history, slow))
    assert total > 100
    for number in range(1, total + 1):
        run(history, Effects(number, after=not slow), slow=slow, moves=slow)


@every_history
def test_A17_a_process_may_die_twice(history: histories.History, seed: int) -> None:
    """Death at an effect of the first process, and again at one of its successor."""
    rng = random.Random(seed)
    names = effects_of(history, slow=True)
    named = [k for k, name in enumerate(names, 1) if name.startswith("failpoint")]
    pairs = [(k, rng.randint(1, 60)) for k in rng.sample(named, PAIRS // 3)]
    pairs += [(rng.randint(1, len(names)), rng.randint(1, len(names))) for _ in range(PAIRS)]
    twice = 0
    for first, second in pairs:
        deaths = Effects(first), Effects(second, after=rng.random() < 0.5)
        moves = rng.random() < 0.5
        _, lives = run(history, *deaths, slow=rng.random() < 0.7, moves=moves)
        twice += len(lives) == 3
    assert twice > PAIRS // 3, (twice, seed)


@every_history
@pytest.mark.parametrize("when", ["next", "end"])
def test_A17_requests_of_the_dead_may_arrive_late(history: histories.History, when: str) -> None:
    """Whatever was under way at a death arrives while the successor runs, or after its rest."""
    names = effects_of(history, slow=True)
    numbers = [k for k, name in enumerate(names, 1) if name in ("Sink.submit", "Answer.result")]
    late = 0
    for number in numbers:
        world, _ = run(history, Effects(number), slow=True, moves=True, zombies=when)
        late += world.late_arrivals
    assert late > len(numbers)


def test_every_effect_is_met() -> None:
    """Together the histories meet every failpoint of a run, and every call of every base."""
    met = {name for history in histories.ALL for name in effects_of(history)}
    met |= {name for history in histories.ALL for name in effects_of(history, slow=True)}
    assert {f"failpoint {name}" for name in (*NAMES, *RESYNC_NAMES)} <= met
    calls = {f"{base.__name__}.{name}" for base in BASES for name in calls_of(base)}
    assert calls - met == NEVER_CALLED | VERIFIERS


@pytest.mark.parametrize("base", BASES)
def test_every_call_of_a_base_is_an_effect(base: type) -> None:
    """Abstract methods are all wrapped, and nothing with effects of its own is returned unseen."""
    abstract = getattr(base, "__abstractmethods__", set())
    assert abstract <= set(calls_of(base))
    watched = {Page, StreamPage, LoadPage, Reading, Future, collections.abc.Iterator}
    plain = {type(None), bool, int, str, tuple, collections.abc.Mapping, LogView}
    for name in calls_of(base):
        hint = typing.get_type_hints(getattr(base, name))["return"]
        kinds = {typing.get_origin(part) or part for part in typing.get_args(hint)}
        origin = typing.get_origin(hint) or hint
        found = kinds if origin.__module__ == "types" else {origin}
        assert found <= watched | plain, f"{base.__name__}.{name} gives {hint}: number its effects"


KILLERS: list[tuple[type[Pipeline], Callable[[World], Iterator[Step]]]] = [
    (mutants.MovesWhenSent, histories.the_source_loses),
    (mutants.MovesToTheLastSent, histories.the_source_loses),
    (mutants.LoadDoneWhenRead, histories.the_source_loses),
    (mutants.SweepsBeforeTheAnswers, histories.load_and_stream),
    (mutants.EpochStoredLate, histories.the_source_loses),
]


@pytest.mark.parametrize(("mutant", "history"), KILLERS, ids=lambda p: p.__name__)
def test_a_broken_order_is_found(mutant: type[Pipeline], history: histories.History) -> None:
    """A pipeline that does one thing too early fails at one of its deaths at the latest."""
    for number in itertools.count():
        try:
            _, lives = run(history, Effects(number), slow=True, moves=True, pipeline_class=mutant)
        except AssertionError:
            return
        assert number == 0 or len(lives) == 2, "not found at any death"


def test_every_mutant_has_a_killer() -> None:
    """No broken pipeline is left out."""
    assert {mutant for mutant, _ in KILLERS} == set(mutants.ALL)


def _quiet(world: World) -> Iterator[Step]:
    """Loads and changes that all stand there when the pipeline reads them, in plain pages: of a
    skim all pages count, or none."""
    world.options = replace(world.options, skim_entries=0)
    world.write("a", *range(7))
    world.write("b", *range(5))
    yield REST
    world.write("a", 1, 2, 3, value="y")
    world.delete("a", 0, 4)
    world.write("b", 1, 2, 9, value="y")


def test_H05_what_was_acknowledged_and_saved_is_not_sent_again() -> None:
    """The next process sends the pages that stored progress lacks, and no others."""
    clean, (undisturbed,) = run(_quiet, slow=True)
    stored = clean.store.load("main")
    assert stored is not None
    pages = stored[0].acknowledged.pages
    assert undisturbed.names.count("Sink.submit") == pages
    spared = 0
    for number in range(1, len(undisturbed.names) + 1):
        _, lives = run(_quiet, Effects(number), slow=True)
        saved = lives[0].saved_pages
        again = lives[1].names.count("Sink.submit")
        assert again == pages - saved, (number, lives[0].names[-1])
        spared += saved > 0
    assert spared > 30
