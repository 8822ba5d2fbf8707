"""`python -m tests.matrix`: every PostgreSQL with every engine, one run of pytest per pair.

`--diagonal`: every version once, in a few minutes; `--but-default`: without the pair that pytest
runs by itself.  Exit code 1 if any run failed; what cannot run here is named at the end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.matrix.plan import ALL_PAIRS, DEFAULT, DIAGONAL, Run, runs_of
from txid_sync.dev.engines import left_out

ROOT = Path(__file__).resolve().parents[2]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
HEAD = ("PostgreSQL", "engine", "passed", "failed", "skipped", "seconds")
WIDTHS = (10, 22, 8, 8, 8, 8)


@dataclass(frozen=True, slots=True)
class Result:
    """What one run came to; `failed` counts errors too, and a run without a test as one."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    output: str = ""


def perform(run: Run) -> Result:
    """Run pytest as a process of its own."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        done = subprocess.run(
            [*PYTEST, f"--junitxml={report}", *run.arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        counts = counted(report)
    passed, failed, skipped = counts
    if done.returncode != 0:
        failed = max(failed, 1)
    return Result(passed, failed, skipped, time.monotonic() - begun, done.stdout)


def counted(report: Path) -> tuple[int, int, int]:
    """(passed, failed, skipped) of a JUnit report; nothing where pytest did not write one."""
    if not report.exists():
        return 0, 0, 0
    suites = list(ET.parse(report).getroot().iter("testsuite"))
    tests, failures, errors, skipped = (
        sum(int(suite.get(name, "0")) for suite in suites)
        for name in ("tests", "failures", "errors", "skipped")
    )
    return tests - failures - errors - skipped, failures + errors, skipped


def line(values: Sequence[object]) -> str:
    """A row of the table."""
    first, *rest = zip(values, WIDTHS, strict=False)
    cells = [f"{first[0]!s:<{first[1]}}"]
    cells += [f"{value!s:<{w}}" if w > 8 else f"{value!s:>{w}}" for value, w in rest]
    return " ".join(cells).rstrip()


def show(run: Run, result: Result) -> None:
    """The row of one run, and all that a failed one said."""
    row = [run.postgres, run.engine, result.passed, result.failed, result.skipped]
    text = line([*row, f"{result.seconds:.0f}"])
    print(f"{text}  engine LEFT OUT" if run.left_out else text, flush=True)
    if result.failed:
        print(result.output, flush=True)


def told(run: Run, result: Result | None) -> bool:
    """Show what a run came to; whether it has failed."""
    if result is None:
        print(line([run.postgres, run.engine, "-", "-", "-", "-"]), " LEFT OUT", flush=True)
        return False
    show(run, result)
    return bool(result.failed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 if all that ran has passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--diagonal", action="store_true", help="every version once")
    parser.add_argument("--but-default", action="store_true", help="without pytest's own pair")
    parser.add_argument("--at-once", type=int, default=2, help="runs at a time (%(default)s)")
    chosen = parser.parse_args(arguments)
    missing = left_out()
    runs = runs_of(DIAGONAL if chosen.diagonal else ALL_PAIRS, missing, more=not chosen.diagonal)
    if chosen.but_default:
        runs = [run for run in runs if (run.postgres, run.engine) != DEFAULT]
    begun = time.monotonic()
    print(line(HEAD), flush=True)
    with ThreadPoolExecutor(chosen.at_once) as pool:
        performed = pool.map(lambda run: perform(run) if run.files else None, runs)
        failed = sum(told(run, result) for run, result in zip(runs, performed, strict=True))
    for engine, why in missing.items():
        print(f"LEFT OUT on this machine: {engine}: {why}")
    print(f"{len(runs)} pairs, {failed} failed, {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
