"""The pipeline as a state machine: writers, two instances, faults of everything, changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.failpoints import mutants
from tests.machines.pipelines import INSTANCES, PipelineSystem
from tests.machines.support import finds, search
from txid_sync.errors import TxidSyncError
from txid_sync.model import Document
from txid_sync.pipeline import Pipeline
from txid_sync.progress.memory import SaveFault
from txid_sync.sinks.memory import Fault

writers = st.integers(0, 2)
tables = st.sampled_from(["a", "b"])
keys = st.lists(st.sampled_from("1234"), min_size=1, max_size=3, unique=True)
instances = st.sampled_from([0] * 3 + list(range(INSTANCES)))


class PipelineMachine(RuleBasedStateMachine):
    """Every rule is a step of somebody, or something that goes wrong."""

    pipeline_class: Callable[..., Pipeline] = Pipeline

    def __init__(self) -> None:
        super().__init__()
        self.system = PipelineSystem(type(self).pipeline_class)

    # -- writers ------------------------------------------------------------------------------

    @rule(
        writer=writers, table=tables, keys=keys,
        what=st.sampled_from(["write", "write", "write", "delete", "truncate"]),
        end=st.sampled_from(["", "commit", "commit", "async", "abort"]),
    )  # fmt: skip
    def write(self, writer: int, table: str, keys: list[str], what: str, end: str) -> None:
        """A statement, and perhaps the transaction's end."""
        self.system.write(writer, table, keys, what)
        if end:
            self.system.end(writer, end)

    @rule(writer=writers, how=st.sampled_from(["commit", "async", "abort"]))
    def end(self, writer: int, how: str) -> None:
        """The end of a transaction."""
        self.system.end(writer, how)

    # -- instances ----------------------------------------------------------------------------

    @rule(instance=instances, steps=st.sampled_from([1, 1, 3, 10]))
    def step(self, instance: int, steps: int) -> None:
        """An instance goes on."""
        for _ in range(steps):
            self.system.step(instance)

    @rule(instance=instances)
    def kill(self, instance: int) -> None:
        """kill -9."""
        self.system.kill(instance)

    @rule(instance=instances, names=st.sampled_from([[], ["a"], ["b"]]))
    def resync(self, instance: int, names: list[str]) -> None:
        """An operator asks for a resync."""
        if all(any(d.name == name for d in self.system.documents) for name in names):
            self.system.resync(instance, names)

    # -- what goes wrong, and what changes ------------------------------------------------------

    @rule(fault=st.sampled_from(list(Fault)), at=st.integers(0, 1))
    def sink_fails(self, fault: Fault, at: int) -> None:
        """One of the next pages meets a fault."""
        self.system.faults.insert(min(at, len(self.system.faults)), fault)

    @rule(fault=st.sampled_from(list(SaveFault)))
    def store_fails(self, fault: SaveFault) -> None:
        """The next save meets a fault."""
        self.system.save_faults.append(fault)

    @rule()
    def late_request_arrives(self) -> None:
        """A request of which nobody waits for the answer is applied."""
        self.system.arrive()

    @rule()
    def tombstones_are_forgotten(self) -> None:
        """A node of the sink restarts."""
        self.system.forget_tombstones()

    @rule()
    def source_crashes(self) -> None:
        """What was not flushed is lost."""
        self.system.database.crash()
        self.system.sessions.clear()

    @rule(records=st.integers(0, 3))
    def copy_takes_over(self, records: int) -> None:
        """A lossy promotion."""
        self.system.lossy_promotion(records)

    @rule(table=tables, back=st.integers(0, 4))
    def prune(self, table: str, back: int) -> None:
        """Delete log rows, read or not."""
        self.system.database.prune(table, self.system.database.snapshot().xmax - back)

    @rule(table=tables, number=st.integers(1, 3))
    def columns_change(self, table: str, number: int) -> None:
        """The catalog entry of a table is another one."""
        self.system.database.alter(table, fingerprint=f"columns {number}")

    @rule(name=tables)
    def drop_index(self, name: str) -> None:
        """An index is gone."""
        self.system.drop_index(name)

    @rule(name=tables, columns=st.sampled_from([(), ("k",)]))
    def definition_changes(self, name: str, columns: tuple[str, ...]) -> None:
        """A document is configured in another way."""
        self.system.define(name, columns)

    @rule(names=st.sampled_from(["a", "b", "ab"]))
    def documents_change(self, names: str) -> None:
        """Documents come and go."""
        self.system.configure(*(Document(name, name) for name in names))

    @rule()
    def time_passes(self) -> None:
        """Everything that is looked at now and then is looked at soon."""
        self.system.now_seconds += 20

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def progress_is_sound(self) -> None:
        """Nothing is counted as done that the sink has not."""
        self.system.check_progress()

    @rule()
    def drain(self) -> None:
        """Quiet, then equal; and still after the late requests."""
        self.system.drain()
        self.system.check_equal()
        while self.system.sink.late:
            self.system.arrive()
        self.system.check_equal()

    def teardown(self) -> None:
        """In the end too."""
        self.drain()


class WorkersMachine(PipelineMachine):
    """The same with a number of workers that changes; a third one runs in the end only."""

    @rule(workers=st.integers(1, 3))
    def workers_change(self, workers: int) -> None:
        """Who starts from now on is one of so many; those who run go on."""
        self.system.workers = workers


def test_A10_the_machine_of_workers(seed: int) -> None:
    """Nor does any change of their number, whatever else happens."""
    search(WorkersMachine, seed, examples=120, steps=30)


def test_A17_F21_H08_the_pipeline_machine(seed: int) -> None:
    """No schedule of these rules leaves the sink unequal, or progress ahead of it."""
    search(PipelineMachine, seed, examples=120, steps=30)


BROKEN = (mutants.MovesWhenSent,)  # the others: failpoints/test_memory.py finds them at once


@pytest.mark.parametrize("mutant", BROKEN)
def test_the_pipeline_machine_finds_broken_rules(mutant: type[Pipeline]) -> None:
    """The machine is sharp: it fails over a pipeline that does one thing too early."""
    machine = type("Broken", (PipelineMachine,), {"pipeline_class": mutant})
    assert finds(machine, 1500, 30, AssertionError, TxidSyncError, KeyError)
