"""What happens in the world while processes die: short histories, which meet every kind of page.

Each yields how many steps the pipeline gets before it goes on: a number, REST (until nothing is
left to do) or RESTART (a clean stop and a new process).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.failpoints.world import REFUSED, REST, RESTART, A, B, Step, World
from txid_sync.model import version_of
from txid_sync.sinks.memory import MemoryIndex
from txid_sync.sources.memory_wal import Write

History = Callable[[World], Iterator[Step]]


def load_and_stream(world: World) -> Iterator[Step]:
    """A load of several pages over an index of an earlier life, late commits, dead letters."""
    index = world.sink.indices["a"] = MemoryIndex("uuid-old")
    index.documents["ghost"] = (version_of(3, 9), b'{"k":"ghost"}\n')
    index.documents["1"] = (version_of(3, 9), b'{"k":"1","v":"stale"}\n')
    world.write("a", *range(5))
    world.write("b", 1)
    late = world.database.connect()
    late.begin()
    late.write("a", {("late",): '{"k":"late"}', ("2",): '{"k":"2","v":"late"}'})
    yield 4
    world.write("a", 3, 4, REFUSED, value="y")
    world.delete("a", 0)
    yield 3
    late.commit()
    late.close()
    world.write("b", 2, "x" * 600, 3)
    yield REST
    world.delete("a", 1, REFUSED)
    world.write("a", 0, "ghost", value="back")


def tables_and_truncation(world: World) -> Iterator[Step]:
    """A second document comes; a truncation and its sweep; columns change."""
    world.documents = (A,)
    world.write("a", *range(4))
    world.write("b", *range(3))
    yield REST
    world.write("a", 1, value="y")
    yield 1
    world.documents = (A, B)
    yield RESTART
    world.write("b", 1, 5, value="y")
    yield 5
    with world.database.transaction() as session:
        session.truncate("a")
        session.write("a", {("9",): '{"k":"9"}'})
    world.write("b", 6)
    yield 4
    world.write("a", 2, value="again")
    world.database.alter("b", fingerprint="more columns")
    world.write("b", 7)
    yield 2
    world.now_seconds += 20
    world.delete("b", 0)
    yield 3
    world.write("a", 9, value="last")


def the_source_loses(world: World) -> Iterator[Step]:
    """The source crashes with an unflushed commit, then its lossy copy takes over: new epoch."""
    world.write("a", *range(4))
    world.write("b", 1)
    yield 6
    with world.database.transaction(synchronous=False) as session:
        session.write("a", {("1",): '{"k":"1","v":"phantom"}', ("p",): '{"k":"p"}'})
    world.database.crash()
    world.write("a", 2, value="after")
    yield REST
    world.write("a", 1, "gone", value="will be lost")
    yield 2
    world.lost = {"gone"}
    world.database.crash(keep=world.database.inserted - 2)
    world.database.change_identity(timeline="00000002")
    world.write("b", 2)
    world.delete("a", 3)
    yield 6
    world.write("a", 4, value="on the new timeline")


def the_sink_loses(world: World) -> Iterator[Step]:
    """Progress of the first format; an index is dropped; a log is pruned past the cursor."""
    world.write("a", *range(3))
    world.write("b", *range(3))
    yield REST
    world.write("a", 1, value="y")
    yield 2
    age_progress(world)
    yield RESTART
    world.write("b", 1, value="y")
    yield 4
    world.sink.drop_index("b")
    world.write("b", 5)
    world.now_seconds += 20
    yield 5
    world.delete("a", 0)
    world.write("a", 7, 8)
    world.database.prune("a", world.database.snapshot().xmax)
    yield 4
    world.delete("b", 2)


def a_switchover(world: World) -> Iterator[Step]:
    """Two planned switchovers that lose nothing, one beside a running process, one while it is
    stopped; then one that loses what was written last."""
    world.options = replace(world.options, marker_interval_seconds=-1.0)
    world.write("a", *range(3))
    yield REST
    world.database.crash()
    world.database.change_identity(timeline="00000002")
    world.write("a", 1, value="y")
    yield REST
    yield RESTART
    world.write("b", 1)
    yield 2
    world.database.crash()
    world.database.change_identity(timeline="00000003")
    yield REST
    world.write("a", 2, "gone", value="will be lost")
    yield 3
    world.lost = {"gone"}
    world.database.crash(keep=_before(world, "will be lost"))
    world.database.change_identity(timeline="00000004")
    world.write("a", 0, value="last")


def _before(world: World, value: str) -> int:
    """The place in the WAL of the first write of a value."""
    wal = world.database.state.wal
    return next(
        place for place, record in enumerate(wal)
        if isinstance(record, Write) and any(value in (text or "") for _, text in record.rows)
    )  # fmt: skip


def age_progress(world: World) -> None:
    """What is stored becomes what the first version of the program would have stored."""
    stored = world.store._stored
    if "main" not in stored:
        return
    text, fence = stored["main"]
    value = json.loads(text)
    for newer in ("acknowledged", "place", "marker", "closed", "workers", "base"):
        value.pop(newer, None)
    stored["main"] = (json.dumps({**value, "format": 1}), fence)


ALL: tuple[History, ...] = (
    load_and_stream, tables_and_truncation, the_source_loses, the_sink_loses,
    a_switchover,
)  # fmt: skip
