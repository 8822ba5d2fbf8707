"""Two and more workers share the keys: each writes what is its own, together they are equal."""

from __future__ import annotations

import pytest

from tests.unit.pipelines import A, B, World, changing, drain
from tests.unit.sharing import KEYS, Recording, filled, follow, sent, sound, start, world_of
from txid_sync.errors import DeleteBrake, TakenOver
from txid_sync.model import Limits
from txid_sync.share import WHOLE, Share
from txid_sync.shares import remove, stored_shares
from txid_sync.sources.memory import MemorySource
from txid_sync.verifier import Verifier, VerifyOptions


@pytest.mark.parametrize("of", [2, 3, 128])
def test_workers_fill_and_follow_together(of: int) -> None:
    """Each writes what is its own; together they end equal after every part of a history."""
    world = World(sink=Recording())
    for _ in changing(world):
        pipelines = start(world, of)
        for share, pipeline in zip(Share.all(of), pipelines, strict=True):
            before = len(sent(world))
            drain(pipeline)
            pipeline.stop()
            assert all(map(share.holds, sent(world)[before:]))
        world.assert_equal()
        sound(world)


def test_a_worker_twice_is_noticed() -> None:
    """The second of two processes of one share to save stops, as without workers."""
    world = filled(2)
    one, other = (world.pipeline(share=Share(1, 2)) for _ in range(2))
    one.start()
    other.start()
    world.write("a", *KEYS, value="y")
    drain(one)
    world.write("a", *KEYS, value="z")
    with pytest.raises(TakenOver):
        drain(other)


def test_a_truncation_is_swept_by_every_worker() -> None:
    """Each its own, though no log row names a key; a row that came back is kept."""
    world = filled(3)
    with world.database.transaction() as session:
        session.truncate("a")
    world.write("a", 7, value="back")
    follow(world, 3)
    world.assert_equal()
    assert list(world.index("a")) == ["7"]


def test_the_brake_counts_the_own_share() -> None:
    """A worker whose share would go stops, though that is a small part of the index."""
    world = filled(4)
    share = Share(2, 4)
    doomed = [k for k in KEYS if share.holds(str(k))]
    world.delete("a", *doomed)
    world.database.prune("a", world.database.snapshot().xmax)
    for other in Share.all(4):
        pipeline = world.pipeline(share=other)
        pipeline.start()
        if other == share:
            with pytest.raises(DeleteBrake, match="of worker 2/4"):
                drain(pipeline)
        else:
            drain(pipeline)
    assert set(map(str, doomed)) < set(world.index("a"))


def test_ghosts_of_others_do_not_brake() -> None:
    """What the other workers have not swept yet is none of a worker's candidates."""
    world = filled(4)
    doomed = [k for k in KEYS if not Share(2, 4).holds(str(k))]
    world.delete("a", *doomed)
    world.database.prune("a", world.database.snapshot().xmax)
    pipeline = world.pipeline(share=Share(2, 4))
    pipeline.start()
    drain(pipeline)
    assert pipeline.status().resyncs == 0 or pipeline.status().phase == "sync"
    assert set(map(str, doomed)) < set(world.index("a"))


def test_the_epoch_of_one_worker_does_not_move_the_others() -> None:
    """One has resynced; the sweeps of the others meet its versions, and take no new epoch."""
    world = filled(2)
    one, other = start(world, 2)
    one.resync("asked for")
    drain(one)
    one.stop()
    with world.database.transaction() as session:
        session.truncate("a")
    drain(other)
    assert (one.progress.epoch, other.progress.epoch) == (2, 1)
    drain(world_of(world, Share(1, 2)))
    world.assert_equal()


def test_everything_of_a_pipeline_can_be_removed() -> None:
    """Of all its workers too."""
    world = filled(3)
    remove(world.store, "main")
    assert all(
        world.store.load(name) is None
        for name in ("main", *(share.entry("main") for share in Share.all(3)))
    )
    remove(world.store, "main")
    follow(world, 2)
    world.assert_equal()


def test_workers_that_begin_together_begin_as_one() -> None:
    """The first start of all, at the same time: one epoch, one cursor."""
    world = World(sink=Recording())
    world.write("a", *KEYS)
    pipelines = [world.pipeline(share=share) for share in Share.all(3)]
    pipelines[0].start()
    assert world.store.load("main") is not None
    for pipeline in pipelines[1:]:
        pipeline.start()
    assert len({str(p.progress.cursor) for p in pipelines}) == 1
    assert {p.progress.epoch for p in pipelines} == {1}
    for pipeline in pipelines:
        drain(pipeline)
    world.assert_equal()
    assert WHOLE.entry("main") == "main"


def test_a_document_that_comes_to_several_workers_takes_one_epoch() -> None:
    """Only one of them makes its index, and yet all are of one epoch afterwards."""
    world = World(sink=Recording())
    world.write("a", *KEYS)
    world.write("b", *KEYS)
    for documents, epoch in (((A,), 1), ((A, B), 2)):
        for share in Share.all(3):
            pipeline = world.pipeline(documents=documents, share=share)
            pipeline.start()
            drain(pipeline)
            pipeline.stop()
        assert {p.epoch for p in stored_shares(world.store, "main").values()} == {epoch}
    world.assert_equal()


@pytest.mark.parametrize("of", [1, 3])
def test_verifying_goes_by_the_worker_that_has_the_key(of: int) -> None:
    """One worker is behind: its keys are not settled, a difference of the others' is found."""
    world = filled(of)
    mine = [k for k in KEYS if Share.of_id(str(k), of).number == of]
    world.write("a", *KEYS, value="y")
    for share in Share.all(of)[:-1]:
        drain(world_of(world, share))
    verifier = Verifier(
        "main", MemorySource(world.database, (A, B)), world.sink, world.store, (A,),
        VerifyOptions(Limits(documents=7), settle_seconds=0.0), seconds=lambda: world.now_seconds,
    )  # fmt: skip
    index = world.sink.indices["a"].documents
    other = next((k for k in KEYS if k not in mine), None)
    if other is not None:
        index[str(other)] = (index[str(other)][0], b"{}")
    for _ in range(500):
        if verifier.step() is None:
            break
        world.now_seconds += 10
    found = verifier.pass_.findings["a"]
    assert (found.unsettled, found.stale) == (len(mine), 0 if other is None else 1)
