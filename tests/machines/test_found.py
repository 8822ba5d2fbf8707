"""What the state machines have found, as plain schedules that outlive any change of the machines.

`tests/machines/examples/` holds the same failures as Hypothesis stores them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.machines.support import Kept
from tests.unit.pipelines import OPTIONS, A, World, drain
from txid_sync.errors import Unavailable
from txid_sync.progress.memory import SaveFault


def _columns(world: World) -> None:
    world.database.alter("b", fingerprint="more columns")


def _index(world: World) -> None:
    world.sink.drop_index("b")


@pytest.mark.parametrize("change", [_columns, _index])
def test_F12_another_history_is_not_overlooked_beside_a_smaller_change(
    change: Callable[[World], None]
) -> None:
    """A promotion is noticed although one document's table or index changed at the same time.

    The resync of that document alone took over the new identity, and the rows that the old
    history had and the new one lacks stayed in the other indices for ever.
    """
    world = World(options=replace(OPTIONS, brake_off=True))
    world.write("a", 1)
    world.write("b", 1)
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    kept = world.database.inserted
    world.write("a", 2)
    world.write("a", 1, value="lost")
    drain(pipeline)
    world.database.crash(keep=kept)
    world.database.change_identity(timeline="00000002")
    for n in range(3):
        world.write("b", n)
    change(world)
    world.now_seconds += 100
    drain(pipeline)
    world.assert_equal()


@pytest.mark.parametrize("fault", [SaveFault.REFUSED, SaveFault.LOST])
def test_a_start_whose_save_fails_is_made_again(fault: SaveFault) -> None:
    """A document was taken out of the configuration while it was loaded, and the store failed as
    that was noted: what was not compared to its end is compared again.

    The pipeline went on with the load of a document that it did not know, and ended.
    """
    world = World(options=replace(OPTIONS, brake_off=True))
    world.write("a", 1, 2, 3)
    world.write("b", *range(9))
    world.pipeline().start()
    faults = [fault]
    world.store._faults = lambda _: faults.pop() if faults else None
    pipeline = world.pipeline(documents=(A,))
    with pytest.raises(Unavailable):
        pipeline.start()
    assert not pipeline.started
    pipeline.recover()
    drain(pipeline)
    assert set(pipeline.progress.documents) == {"a"}
    assert world.index("a") == world.table("a")


def test_failing_examples_are_kept(tmp_path: Path) -> None:
    """An example that fails stays in its folder, also after it has passed again."""
    folder = tmp_path / "machine"
    writer = Kept(folder)
    for value in (b"long example", b"short"):
        writer.save(b"key", value)
    writer.delete(b"key", b"long example")
    writer.save(b"key.secondary", b"long example")
    reader = Kept(folder)
    assert list(reader.fetch(b"another key, as the machine has changed")) == [b"short"]
    reader.delete(b"key", b"short")
    assert list(Kept(folder).fetch(b"key")) == [b"short"]
