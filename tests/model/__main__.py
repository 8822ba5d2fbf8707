"""`python -m tests.model [--larger] [NAME ...]`: every search, its states and its seconds.

Exits 1 if a schedule breaks an invariant, and prints the shortest one.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tests.model.explorer import Explorer
from tests.model.profiles import PROFILES
from tests.model.scenes import SCENES, larger
from tests.model.search import explore
from tests.model.world import Outcome

LARGE = 10**8


def _searches(large: bool) -> Iterator[tuple[str, str, Callable[[], Outcome]]]:
    for name, profile in PROFILES.items():
        yield "cursor", name, Explorer(profile).run
    for name, scene in SCENES.items():
        yield "pipeline", name, partial(explore, larger(scene) if large else scene, LARGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the searches that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="searches to run (default: all)")
    parser.add_argument("--larger", action="store_true", help="one more of every misfortune")
    chosen = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    broken = total = 0
    print(f"{'model':10}{'search':20}{'states':>10}{'seconds':>10}")
    for model, name, search in _searches(chosen.larger):
        if chosen.names and name not in chosen.names:
            continue
        begun = time.monotonic()
        outcome = search()
        seconds = time.monotonic() - begun
        print(f"{model:10}{name:20}{outcome.states:10}{seconds:10.1f}", flush=True)
        total += outcome.states
        if outcome.violation:
            broken += 1
            print(f"  {outcome.violation}", *outcome.schedule, sep="\n    ")
    print(f"{'':10}{'all':20}{total:10}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
