"""The bounds of each search: what may happen, and how often."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.model.surroundings import Scene, Writer
from txid_sync.progress.memory import SaveFault
from txid_sync.sinks.memory import Fault

EVERY_FAULT = tuple(Fault)
EVERY_SAVE_FAULT = tuple(SaveFault)


def _put(*keys: str, **how: bool) -> Writer:
    return Writer("put", keys, **how)


def _at_once(what: str, *keys: str) -> Writer:
    return Writer(what, keys, whole=True)


_ONE, _GONE, _TWO = _at_once("put", "1"), _at_once("delete", "1"), _at_once("put", "2")
_OPEN, _OPEN_DELETE = _put("1"), Writer("delete", ("1",))
_WRITES = frozenset({"begin", "commit"})
_BESIDE = _WRITES | {"step"}
_TAMPERS = ("lose", "alter", "plant high")


def _watched(writers: tuple[Writer, ...], budget: dict[str, int], **how: Any) -> Scene:
    """One row, and a verifier that makes one pass."""
    return Scene(writers, {"pass": 1, **budget}, rows=("1",), keys=("1",), **how)


SCENES: dict[str, Scene] = {
    # Faults of sink and store, and the process dies between any two effects.
    "faults": Scene(
        (_OPEN, _GONE), {"fault": 1, "die": 1},
        faults=EVERY_FAULT, save_faults=EVERY_SAVE_FAULT,
    ),
    # Two faults: also zombies that meet each other.
    "zombies": Scene((_ONE, _GONE), {"fault": 2, "die": 1}, faults=(Fault.LATE, Fault.LOST)),
    # Requests in flight are applied in any order; nothing is saved for a while.
    "in flight": Scene(
        (_ONE, _GONE, _TWO), {"fault": 1}, holds=True, in_flight=2,
        faults=(Fault.RETRIED, Fault.LOST, Fault.REFUSED),
    ),
    "saved late": Scene(
        (_ONE, _GONE), {"die": 1, "stop": 1}, holds=True, in_flight=2, slow=True
    ),
    # The sink restarts with requests under way and forgets its deletes.
    "forgets": Scene((_ONE, _GONE), {"forget": 1}, holds=True, in_flight=2),
    # The source crashes and gives txids out again; commits and aborts that were not flushed.
    "crash": Scene(
        (_put("1", synchronous=False), _TWO, _put("2", synchronous=False, may_abort=True)),
        {"crash": 1, "inner": 1}, inner=frozenset({"crash"}),
    ),
    # The server restarts, and its snapshot has the text that it had when nothing was new.
    "same text": Scene(
        (_put("2", synchronous=False, may_abort=True), _OPEN), {"crash": 1, "inner": 1},
        inner=frozenset({"crash"}),
    ),
    # A first start: load beside the stream; writers act between any two statements.
    "load": Scene(
        (_OPEN, _OPEN_DELETE, _at_once("put", "3")), {"inner": 1}, fresh=True,
        keys=("1", "2", "3"), inner=_WRITES,
    ),
    "load, faults": Scene(
        (_ONE,), {"fault": 1, "die": 1}, fresh=True, faults=(Fault.REFUSED, Fault.LATE),
        save_faults=EVERY_SAVE_FAULT,
    ),
    "load, in flight": Scene(
        (_ONE, _GONE), {"inner": 1}, fresh=True, holds=True, in_flight=2,
        inner=frozenset({"begin"}),
    ),
    # An index of an earlier life: load, then sweep of what has no row.
    "ghosts": Scene(
        (_ONE, _at_once("put", "9")), {"die": 1, "inner": 1}, fresh=True, ghosts=("1", "9"),
        keys=("1", "2", "9"), inner=frozenset({"begin"}),
    ),
    "braked": Scene(
        (_at_once("put", "9"),), {"fault": 1, "die": 1}, rows=("1", "2", "3"), fresh=True,
        ghosts=("1", "2", "3", "9"), keys=("1", "2", "3", "9"), brake=0.3, faults=(Fault.REFUSED,),
    ),
    "truncate": Scene(
        (Writer("truncate"), _ONE, _GONE), {"die": 1, "inner": 1}, inner=_WRITES
    ),
    # Windows of several pages, whose keys are listed first: a start makes a sixteenth of `skim`.
    "skim": Scene(
        (_at_once("put", "1", "2"), _at_once("put", "2", "1"), _GONE), {"fault": 1}, skim=32,
        faults=(Fault.RETRIED, Fault.LOST),
    ),
    "skim, deaths": Scene(
        (_at_once("put", "1", "2"), _GONE), {"die": 1}, skim=32, holds=True, in_flight=2,
        slow=True,
    ),
    "skim, writers": Scene(
        (_at_once("put", "1", "2"), _OPEN, _OPEN_DELETE), {"inner": 1}, skim=48, inner=_WRITES,
    ),
    "skim, crash": Scene(
        (_at_once("put", "2", "1"), _put("1", synchronous=False)), {"crash": 1, "inner": 1},
        skim=48, inner=frozenset({"crash"}),
    ),
    "skim, truncate": Scene(
        (_at_once("put", "1", "2"), Writer("truncate"), _ONE), {"inner": 1}, skim=64, inner=_WRITES,
    ),
    # Failover, with and without loss; a disk image put back.
    "failover": Scene(
        (_ONE, _at_once("put", "3")), {"lossy promote": 1, "inner": 1, "die": 1},
        keys=("1", "2", "3"), inner=frozenset({"lossy promote"}),
    ),
    # Switchover, with loss and without, beside a marker: what is lost is never believed there.
    "switchover": Scene(
        (_ONE,), {"promote": 1, "stop": 1, "die": 1}, marks=True
    ),
    "lossy switchover": Scene(
        (_ONE, _TWO), {"lossy promote": 1, "stop": 1, "die": 1}, marks=True
    ),
    "lossy switchover, faults": Scene(
        (_ONE, _TWO), {"lossy promote": 1, "fault": 1}, marks=True,
        faults=(Fault.LOST,), save_faults=(SaveFault.LOST,),
    ),
    "restored": Scene((_ONE, _at_once("put", "3")), {"restore": 1}, keys=("1", "2", "3")),
    # An operator's resync, dying and failing in the midst of it.
    "resync": Scene(
        (_GONE,), {"resync": 1, "die": 1, "fault": 1}, faults=(Fault.LATE,),
        save_faults=EVERY_SAVE_FAULT,
    ),
    # The log is pruned past the cursor, or past a window that is open.
    "pruned": Scene(
        (_put("1", "2"), _GONE), {"prune": 1, "inner": 1, "die": 1}, inner=frozenset({"prune"})
    ),
    # The pipelines prune by themselves: what is stored late, or not at all, lets no row go.
    "prunes": Scene(
        (_put("1", "2"), _GONE), {"fault": 1, "die": 1, "inner": 1}, prunes=True,
        save_faults=EVERY_SAVE_FAULT, inner=_WRITES,
    ),
    "prunes, saved late": Scene(
        (_OPEN, _TWO), {"die": 1}, holds=True, in_flight=2, slow=True, prunes=True
    ),
    "prunes, crash": Scene(
        (_put("1", synchronous=False), _TWO), {"crash": 1, "inner": 1}, prunes=True,
        inner=frozenset({"crash"}),
    ),
    "prunes, two": Scene(
        (_ONE, _GONE), {"inner": 1}, syncers=2, prunes=True, inner=frozenset({"step", "begin"})
    ),
    "prunes, load": Scene(
        (_ONE,), {"fault": 1, "die": 1}, fresh=True, prunes=True, save_faults=EVERY_SAVE_FAULT,
    ),
    # The index is deleted, or another one stands in its place.
    "wiped": Scene(
        (_ONE, _GONE), {"wipe": 1, "nudge": 1, "inner": 1}, inner=frozenset({"wipe"})
    ),
    "replaced": Scene(
        (_ONE, _GONE), {"replace": 1, "nudge": 1, "inner": 1}, inner=frozenset({"replace"})
    ),
    # Two processes at once: one after the other, one inside the other.
    "two": Scene(
        (_ONE, _GONE), {"inner": 1}, syncers=2, inner=frozenset({"step", "begin"})
    ),
    "two, load": Scene((_ONE,), {"inner": 1}, syncers=2, fresh=True, inner=frozenset({"step"})),
    "two, resync": Scene((_GONE,), {"resync": 1}, syncers=2),
    "two, faults": Scene(
        (_ONE,), {"fault": 1}, syncers=2, faults=(Fault.LATE,), save_faults=(SaveFault.LOST,)
    ),
    # A verifier beside the stream, a crash, a resync, another server: never a false alarm.
    "verify": _watched((_ONE, _GONE), {"inner": 2}, inner=_BESIDE),
    "verify, in flight": _watched((_ONE, _GONE), {}, holds=True, in_flight=2, slow=True),
    "verify, crash": _watched(
        (_put("1", synchronous=False), _ONE), {"crash": 1, "inner": 1},
        inner=frozenset({"crash", "begin"}),
    ),
    "verify, resync": _watched((_GONE,), {"resync": 1, "inner": 1}, inner=_BESIDE),
    "verify, failover": _watched(
        (_ONE,), {"lossy promote": 1, "inner": 1}, inner=frozenset({"lossy promote", "step"}),
    ),
    # Somebody else writes a document: it is found, and mended by nothing older.
    "verify, foreign": _watched((_ONE, _GONE), {"tamper": 1}, tampers=_TAMPERS),
    "repair": _watched(
        (_ONE, _GONE), {"tamper": 1, "inner": 1}, inner=_BESIDE, repairs=True,
        tampers=("alter", "plant high"),
    ),
    "repair, crash": _watched(
        (_put("1", synchronous=False),), {"tamper": 1, "crash": 1, "inner": 1},
        inner=frozenset({"crash"}), repairs=True, tampers=("lose", "alter"),
    ),
    "repair, faults": _watched(
        (_ONE,), {"tamper": 1, "fault": 1, "inner": 1}, inner=_WRITES, repairs=True,
        tampers=_TAMPERS, faults=(Fault.LATE, Fault.LOST),
    ),
    "repair, switchover": _watched(
        (_ONE,), {"tamper": 1, "lossy promote": 1, "inner": 1}, inner=frozenset({"begin"}),
        repairs=True, marks=True, tampers=("alter",),
    ),
    "repair, resync": _watched(
        (_GONE,), {"tamper": 1, "resync": 1, "inner": 1}, inner=_BESIDE, repairs=True,
        tampers=("alter",),
    ),
}


def larger(scene: Scene) -> Scene:
    """The same with one more of every misfortune."""
    return replace(scene, budget={what: n + 1 for what, n in scene.budget.items()})
