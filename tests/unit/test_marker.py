"""The marker: a switchover that lost nothing costs nothing; any other one costs a resync."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.unit.pipelines import OPTIONS, A, B, Died, World, drain
from txid_sync import continuity
from txid_sync.cursor import Cursor
from txid_sync.errors import PreconditionError, SourceUnavailable, Unavailable
from txid_sync.model import version_of
from txid_sync.pipeline import Pipeline
from txid_sync.progress.base import Marker, Progress
from txid_sync.snapshot import Snapshot
from txid_sync.sources.memory import MemorySource
from txid_sync.sources.memory_wal import Mark

MARKING = replace(OPTIONS, marker_interval_seconds=60.0, brake_off=True)


@pytest.fixture
def world() -> World:
    """Rows in both tables, pipelines that mark."""
    world = World(options=MARKING)
    world.write("a", 1, 2, 3)
    world.write("b", 1)
    world.now_seconds = 100.0
    return world


def rested(world: World) -> Pipeline:
    """A new pipeline at rest."""
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    return pipeline


def switch(world: World, keep: int | None = None) -> None:
    """Another server takes over, with all that was flushed, or with less."""
    world.database.crash(keep)
    timeline = int(world.database.identity()["timeline"]) + 1
    world.database.change_identity(timeline=f"{timeline:08}")


def marks(world: World) -> int:
    """How many markers the WAL holds."""
    return sum(isinstance(record, Mark) for record in world.database.state.wal)


def assert_nothing_sent(world: World, pipeline: Pipeline, documents: int) -> None:
    """No epoch, no resync, no document since."""
    status = pipeline.status()
    assert (status.epoch, status.resyncs, status.acknowledged_documents) == (1, 0, documents)
    world.assert_equal()


def test_a_running_pipeline_goes_on_after_a_switchover(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """At rest when the server changes: nothing is sent again, and one line says why."""
    pipeline = rested(world)
    documents = pipeline.status().acknowledged_documents
    switch(world)
    with caplog.at_level(logging.INFO, "txid_sync"):
        drain(pipeline)
    assert_nothing_sent(world, pipeline, documents)
    assert [r.getMessage() for r in caplog.records].count(
        "the source has another timeline, and holds the marker that was written last: nothing is "
        "lost, going on where it was"
    ) == 1
    world.write("a", 4)
    drain(pipeline)
    assert_nothing_sent(world, pipeline, documents + 1)


def test_a_stopped_pipeline_goes_on_after_a_switchover(world: World) -> None:
    """Stopped in order, whatever the interval: the next process goes on where it was, twice."""
    pipeline = rested(world)
    for _ in range(2):
        world.write("a", 1, 2)
        drain(pipeline)
        documents = pipeline.status().acknowledged_documents
        pipeline.stop()
        switch(world)
        pipeline = rested(world)
        assert_nothing_sent(world, pipeline, documents)


def test_a_killed_pipeline_writes_everything_again(world: World) -> None:
    """Nobody knows what it had sent since the marker."""
    rested(world)
    switch(world)
    pipeline = rested(world)
    assert (pipeline.status().epoch, pipeline.status().resyncs) == (2, 1)
    world.assert_equal()


def test_what_is_counted_after_the_marker_is_not_proved_by_it(world: World) -> None:
    """The new server lacks it: a resync, and both sides are equal."""
    pipeline = rested(world)
    image = world.database.inserted
    world.write("a", 2, 9, value="lost")
    drain(pipeline)
    assert marks(world) == 1, "the minute is not over"
    switch(world, image)
    drain(pipeline)
    assert pipeline.status().epoch == 2
    world.assert_equal()


@pytest.mark.parametrize("stopped", [False, True])
def test_what_is_sent_after_the_marker_is_not_proved_by_it(world: World, stopped: bool) -> None:
    """A page was sent and its answer never came, before the switchover, which lost it."""
    pipeline = rested(world)
    if stopped:
        pipeline.stop()
        pipeline = world.pipeline()
        pipeline.start()
    image = world.database.inserted
    world.write("a", 9, value="lost")
    world.sink._hold = True
    pipeline.step()
    assert len(world.sink.held) == 1
    while world.sink.held:
        world.sink.release(0)
    world.sink._hold = False
    assert "9" in world.index("a")
    switch(world, image)
    pipeline = rested(world)
    assert pipeline.status().epoch == 2
    world.assert_equal()


def test_a_marker_that_the_new_server_lacks_proves_nothing(world: World) -> None:
    """The standby was behind it, though nothing was counted since."""
    pipeline = rested(world)
    world.write("a", 2, 9, value="lost")
    drain(pipeline)
    pipeline.stop()
    places = [n for n, r in enumerate(world.database.state.wal) if isinstance(r, Mark)]
    switch(world, places[-1])
    pipeline = rested(world)
    assert pipeline.status().epoch == 2
    world.assert_equal()


def test_a_marker_on_another_server_than_was_read_proves_nothing(world: World) -> None:
    """The connection was lost at the end: the marker went to a server that lacks what was sent."""
    source = MemorySource(world.database, (A, B))
    pipeline = Pipeline(
        "main", source, world.sink, world.store, (A, B), MARKING, seconds=lambda: world.now_seconds
    )
    pipeline.start()
    drain(pipeline)
    image = world.database.inserted
    world.write("a", 2, 9, value="lost")
    drain(pipeline)
    switch(world, image)
    source.connect()
    pipeline.stop()
    assert marks(world) == 2, "the new server was marked"
    again = rested(world)
    assert again.status().epoch == 2
    world.assert_equal()


@pytest.mark.parametrize("dies", [False, True])
def test_a_new_cursor_is_not_proved_by_an_older_marker(world: World, dies: bool) -> None:
    """A resync has not sent anything yet, or died before; a third server has the marker, but not
    the history in which the new cursor began."""

    def failpoint(name: str) -> None:
        if name == "resync-stored" and dies:
            raise Died

    pipeline = rested(world)
    image = world.database.inserted
    world.write("a", 2)
    world.now_seconds += 100
    drain(pipeline)
    pipeline.stop()
    marked = world.database.state
    pipeline = world.pipeline(failpoint)
    pipeline.start()
    drain(pipeline)
    pipeline.step()  # so that on the third server the stream comes first, not the load
    switch(world, image)
    world.write("a", *range(20, 24))
    pipeline.recover()
    if dies:
        with pytest.raises(Died):
            pipeline.step()
        pipeline = world.pipeline()
    else:
        assert pipeline.step()
        assert pipeline.progress.epoch == 2
    world.database.state = marked
    switch(world)
    switch(world)
    if dies:
        pipeline.start()
    drain(pipeline)
    assert pipeline.progress.epoch == 3
    world.assert_equal()


STANDBY = {"role": "standby", "server": "s 5432 1"}


def test_B04_F12_a_standby_is_never_marked_nor_proved(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A move to a standby that holds the marker costs a resync, and so does its promotion; there
    nothing is written, and nothing said; the promoted server is marked again."""
    rested(world).stop()
    written = marks(world)
    primary = world.database.identity()
    world.database.change_identity(**STANDBY)
    with caplog.at_level(logging.WARNING, "txid_sync"):
        pipeline = rested(world)
        world.now_seconds += 100
        world.write("a", 5)
        drain(pipeline)
        pipeline.stop()
    assert not [r for r in caplog.records if "marker" in r.getMessage()]
    assert (marks(world), pipeline.status().epoch) == (written, 2)
    assert (pipeline.progress.marker, pipeline.progress.closed) == (None, False)
    world.database.change(identity=tuple(sorted(primary.items())))
    switch(world)
    pipeline = rested(world)
    assert pipeline.status().epoch == 3
    assert marks(world) == written + 1
    switch(world)
    drain(pipeline)
    assert pipeline.status().epoch == 3
    world.assert_equal()


def test_nobody_is_asked_where_continuity_is_proved(world: World) -> None:
    """Under on_discontinuity = "stop" a switchover that lost nothing is no discontinuity; one that
    cannot be proved still stops, by the running process and by the next."""
    world.options = replace(MARKING, may_resync=False)
    pipeline = rested(world)
    switch(world)
    world.write("a", 4)
    drain(pipeline)
    pipeline.stop()
    switch(world)
    pipeline = rested(world)
    assert pipeline.status().resyncs == 0
    world.assert_equal()
    for key in (5, 6):  # the first is marked, the second within its minute is not
        world.write("a", key)
        drain(pipeline)
    switch(world)
    with pytest.raises(PreconditionError, match="on_discontinuity is 'stop'"):
        drain(pipeline)
    with pytest.raises(PreconditionError, match="on_discontinuity is 'stop'"):
        world.pipeline().start()


@pytest.mark.parametrize("field", ["system_identifier", "database_oid"])
def test_another_database_is_never_adopted(world: World, field: str) -> None:
    """A copy of the database holds the marker too, and may hold anything else."""
    pipeline = rested(world)
    world.database.change_identity(**{field: "77"})
    drain(pipeline)
    assert pipeline.status().epoch == 2


def test_one_marker_for_each_time_of_work(world: World) -> None:
    """Idle pipelines write nothing, at the start neither; work is marked once per interval."""
    pipeline = rested(world)
    assert marks(world) == 1
    for _ in range(5):
        world.now_seconds += 1000
        drain(pipeline)
    assert marks(world) == 1
    for key in range(5):
        world.write("a", key)
        drain(pipeline)
        world.now_seconds += 1
    assert marks(world) == 2
    world.now_seconds += 60
    drain(pipeline)
    assert marks(world) == 3
    pipeline.stop()
    saves, txid = world.store.saves, world.database.state.next_txid
    again = rested(world)
    again.stop()
    assert (world.store.saves, world.database.state.next_txid) == (saves, txid)


class Refusing(MemorySource):
    """A source that does not let itself be marked."""

    refusal: Exception = PreconditionError("permission denied", "txid-sync init --reader ROLE")
    asked = 0

    def mark(self, name: str, nonce: str) -> Mapping[str, str]:
        """Refuse."""
        del name, nonce
        self.asked += 1
        raise self.refusal

    def marker(self, name: str) -> tuple[Mapping[str, str], str]:
        """Refuse."""
        raise PreconditionError(f"permission denied for {name}")


def test_without_the_right_nothing_else_changes(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning; a switchover is answered by a resync."""
    source = Refusing(world.database, (A, B))
    pipeline = Pipeline(
        "main", source, world.sink, world.store, (A, B), MARKING, seconds=lambda: world.now_seconds
    )
    with caplog.at_level(logging.WARNING, "txid_sync"):
        pipeline.start()
        for key in range(3):
            world.write("a", key)
            world.now_seconds += 100
            drain(pipeline)
    said = [r.getMessage() for r in caplog.records if "no marker" in r.getMessage()]
    assert len(said) == 1 and "permission denied" in said[0]
    assert source.asked == 1
    switch(world)
    drain(pipeline)
    assert pipeline.status().epoch == 2
    pipeline.stop()
    world.assert_equal()


def test_a_marker_that_fails_is_written_later(world: World) -> None:
    """An outage in that moment is no error of its own."""
    source = Refusing(world.database, (A, B))
    source.refusal = SourceUnavailable("the connection is lost")
    pipeline = Pipeline(
        "main", source, world.sink, world.store, (A, B), MARKING, seconds=lambda: world.now_seconds
    )
    pipeline.start()
    drain(pipeline)
    assert source.asked == 1
    world.now_seconds += 61
    drain(pipeline)
    assert source.asked == 2
    pipeline.stop()
    assert issubclass(SourceUnavailable, Unavailable)


HERE = {"system_identifier": "1", "timeline": "1", "database_oid": "5"}
THERE = {**HERE, "timeline": "2"}
PROGRESS = Progress(
    Cursor.start(Snapshot.parse("9:9:")), HERE, 1, version_of(1, 8),
    marker=Marker("n", version_of(1, 8)),
)  # fmt: skip


@pytest.mark.parametrize(
    ("progress", "identity", "nonce", "nothing_sent", "answer"),
    [
        (PROGRESS, THERE, "n", True, True),
        (PROGRESS, {**THERE, "database_oid": "6"}, "n", True, False),
        (PROGRESS, {**THERE, "system_identifier": "2"}, "n", True, False),
        (PROGRESS, {**THERE, "role": "standby", "server": "s"}, "n", True, False),
        (replace(PROGRESS, identity={**HERE, "role": "standby"}), THERE, "n", True, False),
        (PROGRESS, THERE, "m", True, False),
        (PROGRESS, THERE, "", True, False),
        (PROGRESS, THERE, "n", False, False),
        (replace(PROGRESS, marker=None), THERE, "", True, False),
        (replace(PROGRESS, highest_version=version_of(1, 9)), THERE, "n", True, False),
    ],
)
def test_what_proves_that_nothing_was_lost(
    progress: Progress, identity: dict[str, str], nonce: str, nothing_sent: bool, answer: bool
) -> None:
    """Each condition of the rule is needed."""
    assert continuity.proved(progress, identity, nonce, nothing_sent) is answer
