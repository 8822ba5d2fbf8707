"""Tries every mutant of the list: `python -m tests.mutants`.

First the tests run against the code as it is; then each mutant is applied to a copy, and one of its
tests must fail.  Exit code 0 if all were killed, 1 if one survived, could not be tried, or if the
tests fail without any mutant, 2 for wrong arguments.

    python -m tests.mutants --list
    python -m tests.mutants --area pipeline -j 4
    python -m tests.mutants gate-asked-once
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn

from tests.mutants.entries import BadEntry, Mutant, chosen, listed
from tests.mutants.runner import (
    TIMEOUT_SECONDS,
    Outcome,
    Verdict,
    baseline,
    try_all,
    workshops,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; gives the exit code."""
    options = _options(arguments)
    try:
        mutants = chosen(listed(), options.names, options.area)
    except BadEntry as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.list:
        for mutant in mutants:
            print(f"{mutant.area:14} {mutant.name:36} {mutant.breaks}")
        return 0
    return run(mutants, options.jobs, options.seconds)


def run(mutants: Sequence[Mutant], jobs: int, timeout_seconds: float = TIMEOUT_SECONDS) -> int:
    """Try these mutants and print the table; gives the exit code."""
    began = time.monotonic()
    with workshops(max(1, min(jobs, len(mutants)))) as shops:
        failing, problems = baseline(shops, mutants)
        if problems:
            print("the tests cannot be run without a mutant:", *problems, sep="\n  ")
            return 1
        state = f"{len(failing)} fail" if failing else "all pass"
        print(f"the tests without a mutant: {state}, {time.monotonic() - began:.0f} s", flush=True)
        outcomes = try_all(shops, mutants, _tell, timeout_seconds, failing)
    return summary(outcomes, time.monotonic() - began)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.mutants", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", help="mutants to try; all if none is named")
    parser.add_argument("--area", action="append", default=[], help="all mutants of an area")
    parser.add_argument("--list", action="store_true", help="only show the list")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1, metavar="N",
                        help="how many at a time (default: the number of cores)")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=TIMEOUT_SECONDS,
                        help="longest time for one mutant (default %(default)s)")  # fmt: skip
    return parser.parse_args(arguments)


def _tell(mutant: Mutant, outcome: Outcome) -> None:
    by = outcome.by.removeprefix("tests/")
    print(f"{outcome.verdict.value:8} {mutant.name:36} {outcome.seconds:5.1f} s  {by}", flush=True)


def summary(outcomes: Mapping[Mutant, Outcome], seconds: float) -> int:
    """Print what was not killed, and the counts; gives the exit code."""
    counts = dict.fromkeys(Verdict, 0)
    for mutant, outcome in sorted(outcomes.items(), key=lambda pair: pair[0].name):
        counts[outcome.verdict] += 1
        if outcome.verdict is not Verdict.KILLED:
            print(f"\n{outcome.verdict.value}: {mutant.name} ({mutant.file}): {mutant.breaks}")
            print(f"  {outcome.by}")
    text = f"{len(outcomes)} mutants: {counts[Verdict.KILLED]} killed"
    text += f", {counts[Verdict.SURVIVED]} survived"
    if counts[Verdict.BROKEN]:
        text += f", {counts[Verdict.BROKEN]} could not be tried"
    print(f"\n{text}, {seconds:.0f} s")
    return 0 if counts[Verdict.KILLED] == len(outcomes) else 1


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """End as on Ctrl-C: nothing is left behind."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
