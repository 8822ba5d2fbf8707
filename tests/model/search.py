"""Breadth first over everything that may happen in a scene, with the real pipeline.

A state is the whole system between two actions; it is kept as values and put back to go on from
it.  Inside an action every choice of the oracle is tried, by doing the action again.  States are
told apart by a 64-bit hash of all that decides what happens next, and expanded once.

Besides the invariants of system.py: **every pipeline comes to rest**.  The ordinary steps of one
process, nothing else happening, lead from every state to a step that finds nothing to do (or to the
end of the process); the states met are walked again afterwards to see that.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from unittest import mock

from tests.model.oracle import Oracle
from tests.model.parts import Chunks
from tests.model.surroundings import Action, Scene
from tests.model.system import System
from tests.model.world import Outcome, ViolationError
from txid_sync import keeper, pipeline, verifier

RESTS = -1


class Search:
    """One search of one scene."""

    def __init__(self, scene: Scene) -> None:
        self.system = System(scene)
        first = self.system.key()
        self._parents: dict[int, tuple[int, str]] = {first: (0, "")}
        self._queue = deque([(first, self.system.freeze())])
        self._ordinary: dict[tuple[int, int], int] = {}

    def run(self, at_most: int, whole: bool) -> Outcome:
        """Every state within the bounds, or the shortest way to a violation."""
        while self._queue:
            if len(self._parents) > at_most:
                if whole:
                    raise AssertionError(f"more than {at_most} states: not exhaustive")
                break
            here, frozen = self._queue.popleft()
            self.system.thaw(frozen)
            for action in list(self.system.actions()):
                prefixes: list[tuple[int, ...]] = [()]
                while prefixes:
                    oracle = Oracle(prefixes.pop())
                    violation = self._try(here, frozen, action, oracle)
                    if violation:
                        schedule = (*self._way(here), _label(action, oracle))
                        return Outcome(len(self._parents), schedule, violation)
                    prefixes.extend(oracle.others())
        return self._restless() or Outcome(len(self._parents))

    def _try(self, here: int, frozen: tuple[object, ...], action: Action, oracle: Oracle) -> str:
        system = self.system
        system.thaw(frozen)
        system.oracle = oracle
        try:
            system.do(action)
            after = system.key()
            if after not in self._parents:
                system.check()
        except ViolationError as violation:
            return str(violation)
        if action[0] == "step" and not oracle.labels:
            ended = system.rested or system.processes[action[1]] is None
            self._ordinary[here, action[1]] = RESTS if ended else after
        if after not in self._parents:
            self._parents[after] = here, _label(action, oracle)
            self._queue.append((after, system.freeze()))
        return ""

    def _way(self, state: int) -> tuple[str, ...]:
        labels: list[str] = []
        while self._parents[state][1]:
            state, label = self._parents[state]
            labels.append(label)
        return tuple(reversed(labels))

    def _restless(self) -> Outcome | None:
        """A state from which a process steps for ever, if there is one.

        What was not expanded counts as rest.
        """
        ahead = {RESTS, *(state for state, _ in self._queue)}
        ends: set[tuple[int, int]] = set()
        for start in self._ordinary:
            way, at = dict.fromkeys([start]), start
            while (after := self._ordinary[at]) not in ahead and (after, at[1]) not in ends:
                at = after, at[1]
                if at in way:
                    return Outcome(len(self._parents), self._way(at[0]), "never comes to rest")
                way[at] = None
            ends.update(way)
        return None


def explore(scene: Scene, at_most: int = 10**6, whole: bool = True) -> Outcome:
    """Search a scene; sweeps are made such that they can be kept.

    Without `whole` the search ends once it has met more than `at_most` states.
    """
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(pipeline, "candidates", Chunks))
        for module in (keeper, verifier):
            stack.enter_context(mock.patch.object(module, "fresh_nonce", _fresh_nonce))
        return Search(scene).run(at_most, whole)


def _fresh_nonce() -> str:
    return System.current.fresh_nonce()


def _label(action: Action, oracle: Oracle) -> str:
    name = f"{action[0]} {action[1]}"
    return f"{name} ({', '.join(oracle.labels)})" if oracle.labels else name
