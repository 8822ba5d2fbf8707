"""A verifier over the world in memory, and differences that somebody planted."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.unit.pipelines import OPTIONS, A, B, World, run
from txid_sync.errors import Unavailable
from txid_sync.failpoints import Failpoint, ignore
from txid_sync.model import Document, Limits, version_of
from txid_sync.sources.memory import MemorySource
from txid_sync.verifier import Verifier, VerifyOptions
from txid_sync.verify_state import Pass

QUICK = VerifyOptions(Limits(documents=3), settle_seconds=1.0, save_seconds=0.0)
REPAIR = VerifyOptions(
    Limits(documents=3), settle_seconds=1.0, save_seconds=0.0, repair=True
)
COMPLETE = replace(OPTIONS, brake_off=True)


def filled() -> World:
    """Both tables filled and synced."""
    world = World(options=COMPLETE)
    world.write("a", *range(7))
    world.write("b", *range(4))
    run(world)
    return world


def counts(result: Pass) -> dict[str, tuple[int, int, int]]:
    """Missing, stale and ghosts of each document."""
    return {f.document: (f.missing, f.stale, f.ghosts) for f in result.findings.values()}


def verifier_of(
    world: World,
    options: VerifyOptions = QUICK,
    documents: tuple[Document, ...] = (A, B),
    failpoint: Failpoint = ignore,
) -> Verifier:
    """A verifier as a process of its own makes it."""
    source = MemorySource(world.database, documents)
    return Verifier(
        "main", source, world.sink, world.store.other(), documents, options,
        failpoint=failpoint, seconds=lambda: world.now_seconds,
    )  # fmt: skip


def verified(world: World, options: VerifyOptions = QUICK) -> Pass:
    """A whole pass, while nothing else happens."""
    verifier = verifier_of(world, options)
    for _ in range(5000):
        try:
            pause = verifier.step()
        except Unavailable:
            continue
        assert not verifier.hindrance, verifier.hindrance
        if pause is None:
            return verifier.pass_
        world.now_seconds += pause
    raise AssertionError("the pass does not end")


def alter(world: World, index: str, key: int) -> None:
    """Other content under the same version."""
    version, _ = world.sink.indices[index].documents[str(key)]
    source = json.dumps({"k": key, "v": "altered"}).encode()
    world.sink.indices[index].documents[str(key)] = (version, source)


def lose(world: World, index: str, key: int) -> None:
    """A document is gone, and its delete not remembered."""
    del world.sink.indices[index].documents[str(key)]


def plant(world: World, index: str, key: int, version: int = version_of(1, 1)) -> None:
    """A document that somebody else wrote."""
    source = json.dumps({"k": key, "v": "ghost"}).encode()
    world.sink.indices[index].documents[str(key)] = (version, source)


def plant_very_high(world: World, index: str, key: int) -> None:
    """A document of the highest version that there can be."""
    plant(world, index, key, 2**63 - 1)
