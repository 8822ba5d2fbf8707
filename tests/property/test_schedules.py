"""Random long schedules over database, source and sink in memory keep every invariant."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.model import mutants
from tests.property.machine import WRITERS, System
from txid_sync.cursor import Cursor
from txid_sync.sources.memory import MemorySource

Statement = tuple[str, list[tuple[str, ...]]]

writers = st.integers(0, WRITERS - 1)
sizes = st.sampled_from([1, 2, 3, 5])
keys_of = {
    "a": st.lists(st.sampled_from([("1",), ("2",), ("3",)]), min_size=1, max_size=3, unique=True),
    "b": st.lists(st.sampled_from([("1", "2"), ("x", "y")]), min_size=1, max_size=2, unique=True),
}
statements = st.sampled_from(["a", "b"]).flatmap(lambda t: st.tuples(st.just(t), keys_of[t]))


class Schedules(RuleBasedStateMachine):
    """Every rule is one step of some writer, of the syncer, or of fate."""

    source_class: type[MemorySource] = MemorySource

    def __init__(self) -> None:
        super().__init__()
        self.system = System(self.source_class)

    @rule(writer=writers, statement=statements, delete=st.booleans())
    def write(self, writer: int, statement: Statement, delete: bool) -> None:
        """A statement over some keys."""
        self.system.write(writer, statement[0], statement[1], delete)

    @rule(writer=writers)
    def take_txid(self, writer: int) -> None:
        """A txid without a write."""
        self.system.session(writer).assign()

    @rule(writer=writers, table=st.sampled_from(["a", "b"]))
    def truncate(self, writer: int, table: str) -> None:
        """Empty a table."""
        self.system.truncate(writer, table)

    @rule(writer=writers, statement=statements, keep=st.booleans())
    def savepoint(self, writer: int, statement: Statement, keep: bool) -> None:
        """A statement in a savepoint, released or rolled back."""
        session = self.system.session(writer)
        session.savepoint("s")
        self.system.write(writer, statement[0], statement[1], delete=False)
        if keep:
            session.release("s")
        else:
            session.rollback_to("s")

    @rule(writer=writers, how=st.sampled_from(["commit", "async", "abort"]))
    def end(self, writer: int, how: str) -> None:
        """The end of a transaction."""
        self.system.end(writer, how)

    @rule(size=sizes)
    def read(self, size: int) -> None:
        """Read a page; the size is another one each time."""
        self.system.read(size)

    @rule(acknowledged=st.sampled_from([True, True, True, False]))
    def send(self, acknowledged: bool) -> None:
        """Send the page in hand; sometimes the syncer dies before the answer."""
        self.system.send(acknowledged)

    @rule(size=sizes)
    def step(self, size: int) -> None:
        """A page at once from log to sink."""
        self.system.read(size)
        self.system.send()

    @rule()
    def save(self) -> None:
        """Store progress."""
        self.system.save()

    @rule()
    def restart(self) -> None:
        """kill -9 and a new process."""
        self.system.restart()

    @rule()
    def flush(self) -> None:
        """The background flush."""
        self.system.database.flush()

    @rule()
    def crash(self) -> None:
        """The server crashes and recovers."""
        self.system.crash()
        self.system.source.connect()

    @rule(size=sizes)
    def drain(self, size: int) -> None:
        """Quiet, then equal; and an idle cursor is stable (A08)."""
        self.system.drain(size)
        before = self.system.cursor.to_json()
        self.system.drain(size)
        assert self.system.cursor.to_json() == before


def _settings(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def test_A09_any_schedule_any_page_size() -> None:
    """Coverage, no phantom and equality hold in random schedules; page sizes change each time."""
    run_state_machine_as_test(Schedules, settings=_settings(300, 40))


@pytest.mark.parametrize("mutant", [mutants.OrderedByKey, mutants.CountedAfterJoin])
def test_broken_rules_show_in_random_schedules(mutant: type[MemorySource]) -> None:
    """The machine is sharp: it finds these by chance, without being told where to look."""
    machine = type("Broken", (Schedules,), {"source_class": mutant})
    with pytest.raises((AssertionError, KeyError)):
        run_state_machine_as_test(
            machine,
            settings=settings(
                _settings(2000, 40), phases=[Phase.generate], report_multiple_bugs=False
            ),
        )


def _after(system: System, sizes_in_turn: list[int]) -> Cursor:
    for size in sizes_in_turn:
        system.read(size)
        system.send()
    system.drain(1)
    return system.cursor


def test_A08_caught_up_cursors_compare_and_hash_equal() -> None:
    """However it was read, a cursor that has caught up with a quiet source is the same value."""
    cursors = set()
    for turns in ([], [1], [2, 1, 3], [5, 5, 5], [1] * 9):
        system = System()
        for n in range(6):
            system.write(n % 2, "a", [(str(n),), (str(n + 10),)], delete=False)
            if n % 3 == 2:
                system.end(n % 2, "commit")
        for writer in range(2):
            system.end(writer, "commit")
        cursors.add(_after(system, turns))
    assert len(cursors) == 1
