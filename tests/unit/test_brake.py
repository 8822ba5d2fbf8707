"""The delete brake counts what would really go."""

from __future__ import annotations

import pytest

from tests.unit.pipelines import World, drain, run
from txid_sync.errors import DeleteBrake


@pytest.mark.parametrize("gone", [2, 3])
def test_the_brake_counts_documents_whose_rows_are_gone(gone: int) -> None:
    """A resync whose rows are there and refused by the sink removes none of their old documents,
    and is not braked: two of ten that are gone may go, three may not."""
    world = World()
    world.write("a", *range(10))
    run(world)
    world.sink._refuse = lambda document, id, source: "bad"
    pipeline = world.pipeline()
    pipeline.start()
    world.database.prune("a", 10**6)
    world.delete("a", *range(gone))
    world.database.prune("a", 10**6)
    if gone == 3:
        with pytest.raises(DeleteBrake, match="3 or more of its 10"):
            drain(pipeline)
        assert len(world.index("a")) == 10
        return
    drain(pipeline)
    assert set(world.index("a")) == {str(n) for n in range(2, 10)}
    assert pipeline.status().dead_letters > 0
