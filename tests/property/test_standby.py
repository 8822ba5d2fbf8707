"""Random schedules of a standby that is polled: the real cursor and the real rules of recovery."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.standby import Schedule, Syncer
from txid_sync import recovery
from txid_sync.cursor import Cursor
from txid_sync.snapshot import Snapshot

numbers = st.integers(0, 12 * 60 - 1)


class StatusAfterThePage(Syncer):
    """Breaks rule 1: the question is asked when the page is read, so in its snapshot or later."""

    def page(self, size: int) -> bool:
        """Read the page of an older state, then ask."""
        self.asked = self.asked and self._later()
        return super().page(size)

    def _later(self) -> Snapshot:
        here = self.standby.place
        for _ in range(3):
            self.standby.replay()
        finished = self.ask()
        self.standby.restart(here)
        return finished


class NaiveXip(Syncer):
    """Breaks rule 2: the printed snapshot is believed."""

    def answer(self) -> recovery.Answer:
        """Nothing is in progress."""
        xmin, x1 = self.standby.bounds()
        return recovery.Answer(xmin, x1, x1, ())


class OldOpenForgotten(Syncer):
    """Breaks rule 3: what was in progress before is not asked about again."""

    def answer(self) -> recovery.Answer:
        """Only new txids are asked about."""
        xmin, x1 = self.standby.bounds()
        known = None if self.known is None else Snapshot.of(self.known.xmax)
        asked, to = recovery.asked(recovery.question(known, self.limit), xmin, x1)
        running = tuple(x for x in asked if self.standby.status(x) == "in progress")
        return recovery.Answer(xmin, x1, to, running)


class LimitCountsAsAsked(Syncer):
    """Breaks rule 4: what one question left out counts as finished."""

    def answer(self) -> recovery.Answer:
        """F ends at x1, however far the question went."""
        answer = super().answer()
        return recovery.Answer(answer.xmin, answer.x1, answer.x1, answer.running)


class NoWaiting(Syncer):
    """Breaks rule 5: a standby that came back earlier is read at once."""

    def behind(self, finished: Snapshot) -> bool:
        """Never."""
        return finished.xmax < self.cursor.done.xmax


class OnlyDoneWaitedFor(Syncer):
    """Breaks the second half of rule 5: the place of the last page is not waited for."""

    def behind(self, finished: Snapshot) -> bool:
        """Behind what is done only."""
        return not finished.contains(self.cursor.done)


class PrintedXmaxAsVersion(Syncer):
    """The version counts what is in progress."""

    def version(self, finished: Snapshot) -> int:
        """x1 instead of x1 - len(R)."""
        return finished.xmax


class DoneToXmax(Syncer):
    """R is forgotten when the window closes."""

    def page(self, size: int) -> bool:
        """The cursor afterwards has no xip."""
        moved = super().page(size)
        if moved and self.cursor.window is None:
            self.cursor = Cursor.start(Snapshot.of(self.cursor.done.xmax))
        return moved


MUTANTS = [
    StatusAfterThePage, NaiveXip, OldOpenForgotten, LimitCountsAsAsked, NoWaiting,
    OnlyDoneWaitedFor, PrintedXmaxAsVersion, DoneToXmax,
]  # fmt: skip


@given(st.lists(numbers, max_size=120))
def test_F07_no_schedule_of_a_standby_loses_or_inverts(schedule: list[int]) -> None:
    """Nothing done is missing, versions never fall in the order of sending, the ends are equal."""
    Schedule().run(schedule)


def test_F07_long_schedules_of_a_standby(seed: int) -> None:
    """The same over long schedules, with windows that stay open over restarts and crashes."""
    choose = random.Random(seed)
    for _ in range(60):
        Schedule().run([choose.randrange(12 * 60) for _ in range(600)])


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_F07_a_broken_rule_of_recovery_is_noticed(mutant: type[Syncer]) -> None:
    """Every broken rule fails some schedule: the model is able to notice it."""
    for attempt in range(3000):
        choose = random.Random(attempt)
        schedule = [choose.randrange(12 * 60) for _ in range(150)]
        try:
            Schedule(mutant).run(schedule)
        except AssertionError:
            return
    raise AssertionError(f"{mutant.__name__} passed every schedule")
