"""Everything around the pipelines: what may happen next, what it does, what must hold after it.

The processes run the real `Pipeline` over the real sources/memory, sinks/memory and
progress/memory.  An action is done between two steps of a pipeline, or inside one before an effect.

Invariants, after every action
------------------------------
* coverage: what the cursor counts as done, stored or not, and what `complete_clock` promises, is in
  the sink as new or newer; where a load or a sweep is still due, it may be missing until then;
* no phantom: the sink holds nothing that the source lost;
* never back: no write replaces newer content by older (`ModelSink.written`);
* the store never goes back: epoch, highest version and done only grow, and nothing is sent under
  an epoch that is not stored;
* pruning, where only the pipelines do it: no row goes that stored progress still wants;
* equality: whenever a pipeline finds nothing to do, the sink holds the rows of that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.model import history
from tests.model.parts import Frozen, ModelSink, ModelSource, ModelStore
from tests.model.surroundings import EFFECTS, A, Action, Scene
from tests.model.syncer import NAME, DeathError, Process, parsed, progress_key
from tests.model.watching import HIGH, VERIFIER, Watched
from tests.model.world import ViolationError
from txid_sync.errors import Stop, TakenOver, Unavailable
from txid_sync.model import Limits, Page, epoch_of, version_of
from txid_sync.pipeline import Pipeline, PipelineOptions
from txid_sync.progress.base import REPAIR, Progress
from txid_sync.progress.memory import MemoryProgress


class System(Watched):
    """A database, a sink, a store, processes; its whole state can be kept and put back."""

    current: System

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        System.current, self.nonces = self, 0
        self.shared = MemoryProgress()
        self.sink = ModelSink(self._point, self.fault, scene.holds)
        self.sink._prepared = [A.name]
        self.sink.written, self.sink.coming = self._check_not_back, self._check_epoch
        self.processes: list[Process | None] = [None] * scene.syncers
        self.now = 0.0
        self.rested = False
        self._acting = self._moved = False
        self._first, self._depth, self._clock = True, 0, 0
        self._set_up()

    def _set_up(self) -> None:
        self._earlier_life()
        if not self.scene.fresh:
            self._start(0)
            process = self.processes[0]
            assert process is not None
            while process.step():
                pass
        self._acting = True

    # -- kept and put back --------------------------------------------------------------------

    def freeze(self) -> Frozen:
        """All state."""
        kept = {t for process in self.processes if process for t in process.tickets()}
        self.sink.forget_answers(kept)
        return (
            self.database.state, self.sink.freeze(), dict(self.shared._stored),
            self.shared._last[0], tuple(p and p.freeze() for p in self.processes),
            dict(self.left), self.status, self.now, self.facts, self.histories, self.wal,
            self.wiped_at, self.nonces, self.foreign, self.quiet,
            self.noted(),
        )  # fmt: skip

    def thaw(self, frozen: Frozen) -> None:
        """Be as then."""
        (
            self.database.state, sink, stored, self.shared._last[0], processes,
            left, self.status, self.now, self.facts, self.histories, self.wal,
            self.wiped_at, self.nonces, self.foreign, self.quiet,
            note,
        ) = frozen  # fmt: skip
        self.shared.note(NAME, REPAIR, note)
        self.sink.thaw(sink)
        self.shared._stored.clear()
        self.shared._stored.update(stored)
        self.processes = [p and Process.thawed(p) for p in processes]
        self.left = dict(left)
        self._moved, self._first, self._depth, self.rested = False, True, 0, False

    def key(self) -> int:
        """A hash of all that decides what may happen from here on."""
        state = self.database.state
        indices = tuple(
            (name, i.uuid, tuple(sorted(i.documents.items())), tuple(sorted(i.tombstones.items())))
            for name, i in sorted(self.sink.indices.items())
        )
        late = tuple(sorted((page.document, page.body) for page in self.sink.late))
        sent = tuple((s.page.body, s.owner, s.again) for _, s in sorted(self.sink.sent.items()))
        stored = self.shared._stored.get(NAME)
        processes = tuple(
            p and p.key(self.sink, self._connected(p), self.now, stored) for p in self.processes
        )
        return hash((
            state.wal, state.flushed, state.next_txid, state.latest_ended, state.running,
            state.identity, indices, late, stored and progress_key(parsed(stored[0])), processes,
            tuple(sorted(self.left.items())), self.status, self.facts, self.wiped_at, sent,
            self.foreign, self.quiet and self.scene.tampers, self.noted(),
        ))  # fmt: skip

    def noted(self) -> str:
        """What was noted of the last repair."""
        return self.shared.recall(NAME, REPAIR)

    def _connected(self, process: Process) -> bool:
        connection = process.source.connection
        return connection is not None and self.database.alive(connection.pid)

    # -- what may happen ----------------------------------------------------------------------

    def actions(self) -> Iterator[Action]:
        """Everything that may happen between two steps."""
        for k, process in enumerate(self.processes):
            yield ("step" if process else "start"), k
            if process:
                yield from ((what, k) for what in ("die", "stop", "resync") if self._may(what, k))
        yield from self._source_actions()
        yield from self._sink_actions()
        yield from self._watch_actions()
        if self.scene.slow and any(p and p.pipeline._keeper.dirty for p in self.processes):
            yield "time passes", 0

    def _may(self, what: str, k: int) -> bool:
        process = self.processes[k]
        ready = process is not None and process.ready and not process.failed
        return self.left.get(what, 0) > 0 and (what == "die" or ready)

    # -- doing it -----------------------------------------------------------------------------

    def do(self, action: Action) -> None:
        """Do it; raises ViolationError if a step of it breaks an invariant."""
        self._perform(action)
        self.look_back()

    def _perform(self, action: Action) -> None:
        what, which = action
        if what not in ("pass", "tamper"):
            self.quiet, self.happened = False, self.happened + 1
        if what in self.left:
            self.left[what] -= 1
        getattr(self, "_" + what.replace(" ", "_"))(which)

    # -- processes ----------------------------------------------------------------------------

    def _start(self, k: int) -> None:
        """A new process, which has done nothing yet."""
        source = ModelSource(self.database, [A], now=lambda: self.now)
        source.hook = self._point
        store = ModelStore(self.shared, self._point, self.save_fault)
        store.saved = self._check_saved
        brake = self.scene.brake
        options = PipelineOptions(
            Limits(documents=self.scene.page), self.scene.in_flight, self.scene.skim,
            save_interval_seconds=1.0 if self.scene.slow else 0.0,
            marker_interval_seconds=-1.0 if self.scene.marks else 0.0,
            prune_interval_seconds=-1.0 if self.scene.prunes else 0.0,
            catalog_interval_seconds=0.0, brake_off=brake is None, brake_share=brake or 0.0,
        )  # fmt: skip
        pipeline = Pipeline(
            NAME, source, self.sink, store, [A], options, seconds=lambda: self.now
        )
        self.processes[k] = Process(source, store, pipeline)

    def _step(self, k: int) -> None:
        process = self.processes[k]
        assert process is not None
        self.sink.sender = k
        self._moved = False
        if self._run(k, process.step) is False:
            self._check_rest(process)
            self.rested, self.quiet = True, not self._moved

    def _stop(self, k: int) -> None:
        """SIGTERM."""
        process = self.processes[k]
        assert process is not None
        self.sink.sender = k
        self._run(k, process.pipeline.stop)
        self._end(k)

    def _resync(self, k: int) -> None:
        process = self.processes[k]
        assert process is not None
        self.sink.sender = k
        self._run(k, lambda: process.pipeline.resync("asked for"))

    def _run(self, k: int, work: Callable[[], Any]) -> object:
        """Let a process work; None if it has ended."""
        self._first = True
        try:
            return work()
        except (DeathError, TakenOver):
            self._end(k)
        except Unavailable:
            process = self.processes[k]
            assert process is not None
            process.failed = True
        except Stop as error:
            raise ViolationError(f"stopped: {error}") from error
        return None

    def _die(self, k: int) -> None:
        self._end(k)

    def _end(self, k: int) -> None:
        """A process is gone; its requests may be applied, be lost, or come later."""
        process = self.processes[k]
        if process is None:
            return
        process.source.close()
        self.processes[k] = None
        for ticket, sent in list(self.sink.sent.items()):
            if sent.owner == k:
                del self.sink.sent[ticket]
                how = self.oracle.choose(["was applied", "is lost", "comes later"])
                if how == "was applied":
                    self.sink.deliver(sent.page)
                elif how == "comes later":
                    self.sink.late.append(sent.page)

    def fresh_nonce(self) -> str:
        """One that was in no history before."""
        self.nonces += 1
        return str(self.nonces)

    def _time_passes(self, _: int) -> None:
        self.now += 100.0

    # -- inside a step ------------------------------------------------------------------------

    def _point(self, kind: str) -> None:
        """Before an effect of a process, but for the first of its step: anything may happen.

        Only what the effect could tell from its happening before the step is offered.
        """
        if not self._acting or self._first:
            self._first = False
            return
        while True:
            inner = {f"{a[0]} {a[1]} meanwhile": a for a in self._inner(kind)}
            death = kind in EFFECTS and self.left.get("die", 0) > 0
            choice = self.oracle.choose(["", *inner, *(["dies before it"] if death else [])])
            if not choice:
                return
            if choice not in inner:
                self.left["die"] -= 1
                raise DeathError
            self._happen(inner[choice])

    def _inner(self, kind: str) -> Iterator[Action]:
        if self._depth or not self.left.get("inner", 0):
            return
        beside = self._source_actions() if kind in ("source", "gate") else self._sink_actions()
        yield from (action for action in beside if action[0] in self.scene.inner)
        if "pass" in self.scene.inner and self.sink.sender != VERIFIER:
            yield from (action for action in self._watch_actions() if action[0] == "pass")
        if "step" in self.scene.inner:
            others = enumerate(self.processes)
            yield from (("step", k) for k, p in others if p and k != self.sink.sender)

    def _happen(self, action: Action) -> None:
        """Another action, then back to the process that was at work."""
        self.left["inner"] -= 1
        self._depth += 1
        sender = self.sink.sender
        self._perform(action)
        self.look_back()
        self.sink.sender, self._moved, self._first = sender, True, False
        self._depth -= 1

    # -- invariants ---------------------------------------------------------------------------

    def check(self) -> None:
        """What must hold in every state; raises ViolationError."""
        if "restore" in self.left:
            return  # the source took back what it had promised: only rest is left to ask for
        self._clock = self.database.snapshot().clock
        self._check_no_phantom()
        stored = self.shared._stored.get(NAME)
        if stored:
            self._check_covered(parsed(stored[0]), 0, "stored")
            pruned = self.scene.prunes and self.database.pruned("a")
            if pruned and parsed(stored[0]).cursor.overtaken_by(pruned):
                raise ViolationError(f"pruned up to {pruned}, which stored progress wants")
        for process in self.processes:
            if process and process.ready:
                # A source that crashed may count again from below: until that is noticed, the
                # clock of the process is that of another time.
                complete = process.pipeline._complete_clock if self._connected(process) else 0
                self._check_covered(process.pipeline.progress, complete, "done")

    def _content(self, key: str) -> history.Content:
        held = self.sink.content_of(A.name, key)
        return history.text_of(held[1]) if held else None

    def _check_no_phantom(self) -> None:
        """While another history is being written over, what it lacks may still be there."""
        stored = self.shared._stored.get(NAME)
        if self.scene.ghosts or not stored or self._rewriting(parsed(stored[0])):
            return
        held = self.sink.indices[A.name].documents.keys() if A.name in self.sink.indices else set()
        for key in held - self.foreign:
            content = self._content(key)
            if history.age(self.histories.get(("a", key), []), content, 0) < 0:
                raise ViolationError(f"phantom: {key} holds {content}")

    def _check_epoch(self, page: Page) -> None:
        stored = self.shared._stored.get(NAME)
        if not stored or epoch_of(page.version) > parsed(stored[0]).epoch:
            raise ViolationError("sent under an epoch that is not stored")

    def _another_history(self, progress: Progress) -> bool:
        """Whether the source is not the one that progress is of, which it may not know yet."""
        changed = dict(progress.identity) != dict(self.database.identity())
        return changed or version_of(progress.epoch, self._clock) < progress.highest_version

    def _rewriting(self, progress: Progress) -> bool:
        entry = progress.documents[A.name]
        return self._another_history(progress) or entry.load or entry.sweep_below > 0

    def _check_covered(self, progress: Progress, complete_clock: int, what: str) -> None:
        entry = progress.documents[A.name]
        index = self.sink.indices.get(A.name)
        other_index = index is None or index.uuid != entry.index_uuid
        if other_index or self._another_history(progress):
            return  # not noticed yet; equality at rest is asked all the same
        for (_, key), past in self.histories.items():
            if key in self.foreign:
                continue
            last = history.last_done(past, progress, complete_clock)
            content = self._content(key)
            if last >= 0 and history.missing(key, past, last, content, entry):
                raise ViolationError(f"lost: {key} holds {content} ({what})")

    def _check_rest(self, process: Process) -> None:
        """A pipeline that finds nothing to do: both sides are equal."""
        if self._moved:
            return
        if process.pipeline.status().phase != "sync":
            raise ViolationError(f"rests in phase {process.pipeline.status().phase}")
        entry = process.pipeline.progress.documents[A.name]
        index = self.sink.indices.get(A.name)
        other_index = index is None or index.uuid != entry.index_uuid
        if other_index and self.wiped_at == self.database.snapshot().clock:
            return  # looked at again when the next transaction has ended
        rows = self.database.rows("a", self.database.snapshot())
        want = {key: row for (key,), row in rows.items() if key not in self.foreign}
        keys = index.documents.keys() - self.foreign if index else set()
        held = {key: self._content(key) for key in keys}
        if want != held:
            raise ViolationError(f"not equal at rest: the table has {want}, the index {held}")

    def _check_not_back(self, document: str, key: str, old: tuple[int, bytes | None]) -> None:
        self.look_back()
        past = self.histories.get((document, key), [])
        new = self.sink.content_of(document, key)
        assert new is not None
        if new[0] == HIGH:
            return  # not ordered by versions until the pipeline meets it, which it does
        before = history.age(past, history.text_of(old[1]), old[0])
        after = history.age(past, history.text_of(new[1]), new[0])
        if 0 <= after < before:
            raise ViolationError(f"back: {key} from {old} to {new}")

    def _check_saved(self, old: str, new: str) -> None:
        """The store moves on only.

        An epoch whose save was not answered may be given up by the one who saved it, as long as
        nothing was sent under it.
        """
        if not old or old == new:
            return
        was, now = parsed(old), parsed(new)
        if now.highest_version < was.highest_version or now.epoch < epoch_of(self._newest()):
            raise ViolationError("the stored epoch or highest version went back")
        if now.epoch == was.epoch and not now.cursor.done.contains(was.cursor.done):
            raise ViolationError(f"stored progress went back from {was.cursor} to {now.cursor}")

    def _newest(self) -> int:
        """The greatest version that the sink holds or remembers of the pipelines."""
        held = [0]
        for index in self.sink.indices.values():
            held += [version for version, _ in index.documents.values()]
            held += index.tombstones.values()
        return max(version for version in held if version != HIGH)
