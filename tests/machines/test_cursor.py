"""The cursor as a state machine: savepoints, two-phase commit, crashes, pruning, restarts."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests.machines.support import finds, search
from tests.model import mutants
from tests.property.machine import TABLES, WRITERS
from tests.property.test_schedules import Schedules, sizes, writers
from txid_sync.cursor import Cursor
from txid_sync.errors import Discontinuity
from txid_sync.sources.memory import MemorySource


class CursorMachine(Schedules):
    """The schedules of tests/property, with transactions that outlive connections and crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.names = 0
        self.prepared: list[str] = []

    @rule(writer=writers)
    def prepare(self, writer: int) -> None:
        """First phase of a two-phase commit, if there is something to commit."""
        session = self.system.sessions.get(writer)
        if session is None or not self.system.database.alive(session.pid):
            return
        session.assign()
        self.names += 1
        session.prepare(f"p{self.names}")
        self.prepared.append(f"p{self.names}")
        session.close()
        del self.system.sessions[writer]

    @rule(which=st.integers(0, 9), commit=st.booleans())
    def end_prepared(self, which: int, commit: bool) -> None:
        """Second phase."""
        if not self.prepared:
            return
        name = self.prepared.pop(which % len(self.prepared))
        if commit:
            self.system.database.commit_prepared(name)
        else:
            self.system.database.rollback_prepared(name)
        self.system.note_commits()

    @rule(table=st.sampled_from(TABLES))
    def prune(self, table: object) -> None:
        """Delete the log rows below what is stored and what is read on from."""
        stored, cursor = self.system.stored.done, self.system.cursor.done
        bound = min(stored.lowest_open, cursor.lowest_open)
        self.system.database.prune(getattr(table, "name", ""), bound)

    @rule(writer=writers, size=sizes)
    def die_in_the_crash(self, writer: int, size: int) -> None:
        """The server crashes between an asynchronous commit, a page and its gate."""
        self.system.end(writer, "async")
        self.system.read(size)
        self.system.crash()
        self.system.source.connect()
        self.system.send()

    @invariant()
    def the_cursor_is_sound(self) -> None:
        """What is done only grows, never passes the clock, and survives being stored."""
        cursor = self.system.cursor
        assert Cursor.from_json(cursor.to_json()) == cursor
        now = self.system.database.snapshot()
        assert cursor.done.clock <= now.clock
        assert all(now.finished(x) for x in range(now.xmax) if cursor.done.finished(x))
        if cursor.window is not None:
            assert cursor.window.until.clock <= now.clock

    def teardown(self) -> None:
        """All transactions end; then both sides are equal."""
        for name in self.prepared:
            self.system.database.commit_prepared(name)
        self.system.note_commits()
        self.system.drain(2)
        self.system.check_equal()
        self.system.check_coverage()


def test_A07_A09_the_cursor_machine(seed: int) -> None:
    """No schedule of these rules breaks coverage, equality or the cursor."""
    assert WRITERS > 1
    search(CursorMachine, seed, examples=150, steps=40)


BROKEN = (mutants.CountedAfterJoin, mutants.NoGate, mutants.GateOnAnyConnection)


@pytest.mark.parametrize("mutant", BROKEN)
def test_the_cursor_machine_finds_broken_rules(mutant: type[MemorySource]) -> None:
    """The machine is sharp: it fails over a source with one rule broken."""
    machine = type("Broken", (CursorMachine,), {"source_class": mutant})
    assert finds(machine, 1500, 40, AssertionError, KeyError, Discontinuity)
