"""How long the program takes to start: its help, and its first page."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import ROOT, Figure
from benchmarks.running import Place, check_equal, place, running, touch, until
from benchmarks.usage import seconds_of
from benchmarks.world import Database, World

BARE = [sys.executable, "-c", "pass"]
HELP = [str(Path(sys.executable).with_name("txid-sync")), "--help"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int


FORMS = {"full": Sizes(15), "short": Sizes(7), "tiny": Sizes(1)}


def run(world: World, sizes: Sizes) -> list[Figure]:
    """Both command lines in turns; then a start with a change waiting, and a first start."""
    _call(HELP)
    extra = [1000 * (_call(HELP) - _call(BARE)) for _ in range(sizes.rounds)]
    again, first = [], []
    with world.database("startup") as database:
        database.lean("lean", 100)
        with place(world, database, "again", ["lean"]) as where:
            _first_page(world, database, where)
            again = [_first_page(world, database, where) for _ in range(sizes.rounds)]
            check_equal(where)
        for n in range(min(sizes.rounds, 3)):
            with place(world, database, f"first-{n}", ["lean"]) as where:
                first.append(_first_page(world, database, where))
    return [
        Figure("txid-sync --help beyond python -c pass", extra, "ms", 150, at_most=True),
        Figure("start to first page, index there", again, "s", 1.0, at_most=True),
        Figure("start to first page, index to be made", first, "s"),
    ]


def _call(command: Sequence[str]) -> float:
    return seconds_of(lambda: subprocess.run(command, check=True, cwd=ROOT, capture_output=True))


def _first_page(world: World, database: Database, where: Place) -> float:
    """Seconds from the start of the process until a change made before can be read."""
    arrived = touch(world, database, where)

    def started() -> None:
        process.__enter__()
        until(arrived)

    process = running(where)
    seconds = seconds_of(started)
    process.__exit__(None, None, None)
    return seconds
