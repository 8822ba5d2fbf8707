"""init and uninstall die before and after every effect, also twice; repeated they end equal."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.failpoints.effects import Death, Effects
from tests.failpoints.installing import Installation
from tests.support import Database
from txid_sync.cursor import Cursor
from txid_sync.progress.base import Progress
from txid_sync.snapshot import Snapshot

pytestmark = pytest.mark.integration

CAPTURED = {"p": 5, "t": 4}
OLDER = "begin return null; end"


@pytest.fixture
def place(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """A database with a plain and a partitioned table, writers and a reader."""
    return Installation(database, tmp_path, monkeypatch)


def nothing(place: Installation) -> None:
    """init finds nothing."""


def the_same(place: Installation) -> None:
    """init finds what itself has made."""
    place.init(Effects())


def an_older_one(place: Installation) -> None:
    """init finds the schema of an older program: functions to be rewritten, a function missing."""
    place.init(Effects())
    for (name,) in place.sql("select 'capture_' || id from txid_sync.tracked"):
        make = f"create or replace function txid_sync.{name}() returns trigger language plpgsql"
        place.sql(f"{make} as '{OLDER}'")
    place.sql("drop function txid_sync.members")


STARTS = (nothing, the_same, an_older_one)


def die(run: Callable[[Effects], None], number: int, after: bool = False) -> Effects:
    """Run a command that dies at this effect."""
    effects = Effects(number, after)
    with contextlib.suppress(Death):
        run(effects)
    return effects


@pytest.mark.parametrize("start", STARTS)
def test_A17_init_may_die_at_every_effect(
    place: Installation, start: Callable[[Installation], None]
) -> None:
    """Repeated, it leaves the catalog of one that was left alone; writers never fail."""
    start(place)
    undisturbed = Effects()
    place.init(undisturbed)
    wanted = place.catalog()
    assert place.captured() == CAPTURED
    total = len(undisturbed.names)
    assert total >= 10
    for number in range(1, total + 1):
        for after in (False, True):
            place.remove()
            start(place)
            assert die(place.init, number, after).dead
            place.write()
            place.init(Effects())
            assert place.catalog() == wanted, (number, after, undisturbed.names[number - 1])
            assert place.captured() == CAPTURED


def test_A17_init_may_die_twice(place: Installation, seed: int) -> None:
    """The repetition may die too."""
    undisturbed = Effects()
    place.init(undisturbed)
    wanted, total = place.catalog(), len(undisturbed.names)
    rng = random.Random(seed)
    for _ in range(12):
        place.remove()
        pair = rng.randint(1, total), rng.randint(1, total)
        for number in pair:
            assert die(place.init, number, rng.random() < 0.5).dead
            place.write()
        place.init(Effects())
        assert place.catalog() == wanted, (pair, seed)
        assert place.captured() == CAPTURED


def test_A17_uninstall_may_die_at_every_effect(place: Installation) -> None:
    """Repeated, it leaves nothing; init in its place makes everything again; writers never fail."""
    progress = Progress(Cursor.start(Snapshot.parse("5:5:")), identity={})
    place.remove()
    before = place.catalog()
    place.init(Effects())
    wanted = place.catalog()
    undisturbed = Effects()
    place.uninstall(undisturbed)
    assert place.catalog() == before
    total = len(undisturbed.names)
    assert total >= 8
    for number in range(1, total + 1):
        for after in (False, True):
            place.init(Effects())
            place.store.save("main", progress, None)
            assert die(place.uninstall, number, after).dead
            place.write()
            place.init(Effects())
            assert place.catalog() == wanted
            assert die(place.uninstall, number, after).dead
            place.uninstall(Effects())
            assert place.catalog() == before
            assert place.store.load("main") is None
            place.sql("truncate t, p")
