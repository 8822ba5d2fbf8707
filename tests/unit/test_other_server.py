"""Another server that answers for a moment leaves nothing behind."""

from __future__ import annotations

import pytest

from tests.unit.pipelines import World, drain
from txid_sync.errors import Unavailable
from txid_sync.pipeline import Pipeline
from txid_sync.sources.memory import MemorySource


def ask(pipeline: Pipeline, world: World) -> None:
    """Let a running pipeline meet this server, and make one step on it."""
    source = pipeline._source
    assert isinstance(source, MemorySource)
    source.database, source.connection = world.database, None
    with pytest.raises(Unavailable):
        pipeline.step()
    pipeline._stream_next = False  # the turn of the load, before any poll
    pipeline.recover_and_step()


def test_F12_no_page_of_another_server_is_sent() -> None:
    """In mid-load the connection leads to another server, and at once back again: what the other
    one gives is never sent, so no row is passed over."""
    world, other = World(), World()
    world.write("a", *range(8))
    other.database.change_identity(system_identifier="2")
    other.write("a", *range(8), value="other")
    pipeline = world.pipeline()
    pipeline.start()
    pipeline.step()
    before = world.index("a")
    ask(pipeline, other)
    assert world.index("a") == before
    source = pipeline._source
    assert isinstance(source, MemorySource)
    source.database, source.connection = world.database, None
    for _ in range(3):
        try:
            drain(pipeline)
        except Unavailable:
            pipeline.recover()
    world.assert_equal()
