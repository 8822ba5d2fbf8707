"""All pairs of deaths, on memory: `python -m tests.failpoints [--share 1/8]`.

For every history, every effect k of a process and every effect j of its successor: both die there.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import time

from tests.failpoints import histories
from tests.failpoints.effects import Effects
from tests.failpoints.world import run


def pairs(history: histories.History, slow: bool, moves: bool, part: int, parts: int) -> int:
    """Die at the pairs of one part of all; gives how many."""
    total = len(run(history, slow=slow)[1][0].names)
    found = 0
    for first in range(1, total + 1):
        for second in itertools.count(1 + (first + part) % parts, parts):
            _, lives = run(history, Effects(first), Effects(second), slow=slow, moves=moves)
            if len(lives) < 3:
                break
            found += 1
    return found


def main() -> None:
    """Run them and say how many there were."""
    parser = argparse.ArgumentParser(prog="python -m tests.failpoints", description=__doc__)
    parser.add_argument("--share", default="1/1", help="of n equal parts this one: 1/8")
    part, _, parts = parser.parse_args().share.partition("/")
    logging.disable(logging.CRITICAL)
    for history in histories.ALL:
        for slow, moves in ((True, True), (False, False)):
            begun = time.monotonic()
            count = pairs(history, slow, moves, int(part), int(parts))
            seconds = time.monotonic() - begun
            sink = "slow" if slow else "prompt"
            print(f"{history.__name__}, {sink} sink: {count} pairs, {seconds:.0f} s: all equal")


if __name__ == "__main__":
    main()
