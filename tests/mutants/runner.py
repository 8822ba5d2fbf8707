"""Runs tests against a changed copy of the repository and says what became of the change.

The copy lies in a temporary folder, and the tests run in processes of their own whose first place
to import from is that folder; each run reports which code it has imported, and a run that imported
any other is not believed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tests.mutants.entries import ROOT, BadEntry, Mutant
from tests.mutants.witness import REPORT

TIMEOUT_SECONDS = 240.0
END_SECONDS = 20.0
# What no test has to notice, because nothing that runs at all can look like it.
_NO_PROGRAM = re.compile(
    r"^(E\s+)?(\S*\.)?(SyntaxError|NameError|ImportError|ModuleNotFoundError|UnboundLocalError)\b"
    r"|SQLSTATE 42601|syntax error at "
)
_LEFT_OUT = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist")


class Verdict(Enum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict, the test that gave it (or the reason), and how long it took."""

    verdict: Verdict
    by: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of pytest: its exit code (None: it did not end in time) and what it reported."""

    code: int | None
    report: dict[str, Any]
    output: str

    @property
    def failure(self) -> dict[str, str] | None:
        """The first failure."""
        return next(iter(self.report.get("failures", ())), None)


class Workshop:
    """A copy of the repository in which one change at a time is tried."""

    def __init__(self, folder: Path, origin: Path = ROOT) -> None:
        self._root = folder / "repository"
        self._scratch = folder
        self._written = 0
        self._process: subprocess.Popen[bytes] | None = None
        shutil.copytree(origin, self._root, ignore=_LEFT_OUT)

    @property
    def root(self) -> Path:
        """The root of the copy."""
        return self._root

    def try_out(self, mutant: Mutant, timeout_seconds: float = TIMEOUT_SECONDS) -> Outcome:
        """Apply a mutant, run its tests until one fails, and undo it."""
        path, began = self._root / mutant.file, time.monotonic()
        try:
            changed = mutant.changed(self._root)
        except BadEntry as error:
            return Outcome(Verdict.BROKEN, str(error), 0.0)
        original = path.read_text(encoding="utf-8")
        self._write(path, changed)
        try:
            ran = self.run([*mutant.tests, "-x"], timeout_seconds)
        finally:
            self._write(path, original)
        verdict, by = self._judge(ran, mutant.by_timeout)
        return Outcome(verdict, by, time.monotonic() - began)

    def _write(self, path: Path, text: str) -> None:
        """Write a file, with a time of its own: by second and size compilations are cached."""
        path.write_text(text, encoding="utf-8")
        self._written += 1
        os.utime(path, (self._written, self._written))

    def run(self, arguments: Sequence[str], timeout_seconds: float = TIMEOUT_SECONDS) -> Ran:
        """Run pytest in the copy."""
        report = self._scratch / "report.json"
        report.unlink(missing_ok=True)
        command = [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "-p", "tests.mutants.witness", "--hypothesis-seed=0",
            f"--basetemp={self._scratch / 'basetemp'}", *arguments,
        ]  # fmt: skip
        environment = os.environ | {
            "PYTHONPATH": str(self._root), "TXID_SYNC_SEED": "1", REPORT: str(report),
        }  # fmt: skip
        output = self._scratch / "output.txt"
        with output.open("wb") as stream:
            self._process = subprocess.Popen(
                command, cwd=self._root, env=environment, stdin=subprocess.DEVNULL,
                stdout=stream, stderr=subprocess.STDOUT,
            )  # fmt: skip
            code = _wait(self._process, timeout_seconds)
        found = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
        return Ran(code, found, output.read_text(encoding="utf-8", errors="replace"))

    def interrupt(self) -> None:
        """End the run that is under way; it tidies up."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def problem(self, ran: Ran) -> str:
        """Why a run says nothing about the code in the copy; empty if it does."""
        code = Path(str(ran.report.get("code", "")))
        if ran.report and not code.is_relative_to(self._root.resolve()):
            return f"the tests imported {code}, not the copy"
        if ran.code is None:
            return "the tests did not end in time"
        if ran.code not in (0, 1) and ran.failure is None:
            tail = " ".join(ran.output.split()[-40:])
            return f"pytest ended with {ran.code}: {tail}"
        return ""

    def _judge(self, ran: Ran, by_timeout: bool) -> tuple[Verdict, str]:
        if ran.code is None and by_timeout:
            return Verdict.KILLED, "time-out"
        if problem := self.problem(ran):
            return Verdict.BROKEN, problem
        failure = ran.failure
        if failure is None:
            passed = ran.report.get("passed", 0)
            verdict = Verdict.SURVIVED if passed else Verdict.BROKEN
            return verdict, f"{passed} tests passed"
        if failure["when"] != "call" or _NO_PROGRAM.search(failure["message"]):
            message = " ".join(failure["message"].split())[:300]
            return Verdict.BROKEN, f"{failure['when']} of {failure['test']}: {message}"
        return Verdict.KILLED, failure["test"]


def _wait(process: subprocess.Popen[bytes], timeout_seconds: float) -> int | None:
    """Its exit code, or None if it had to be ended.

    Only the process itself is ended: its servers end, and tidy up, when they see it gone.
    """
    try:
        return process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        return None
    finally:
        process.kill()
        process.wait()


@contextmanager
def workshops(number: int, origin: Path = ROOT) -> Iterator[Sequence[Workshop]]:
    """So many workshops over the same state of the repository, removed in the end."""
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        first = Workshop(folder / "0", origin)
        yield [first, *(Workshop(folder / str(n), first.root) for n in range(1, number))]


@contextmanager
def _pool(shops: Sequence[Workshop]) -> Iterator[ThreadPoolExecutor]:
    """A thread per workshop; whatever ends the block early ends the runs under way too."""
    pool = ThreadPoolExecutor(len(shops))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for shop in shops:
            shop.interrupt()
        raise
    finally:
        pool.shutdown()


def baseline(
    shops: Sequence[Workshop], mutants: Sequence[Mutant]
) -> tuple[Mapping[str, str], Sequence[str]]:
    """Every test of every selection is run once without a mutant.

    Gives the tests that fail, with their messages, and what kept others from being run at all.
    """
    files = sorted({test.partition("::")[0] for mutant in mutants for test in mutant.tests})
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    shares = [
        [test for test in tests if test.partition("::")[0] in files[n :: len(shops)]]
        for n in range(len(shops))
    ]

    def run(shop: Workshop, share: Sequence[str]) -> tuple[dict[str, str], str]:
        if not share:
            return {}, ""
        ran = shop.run(share, TIMEOUT_SECONDS * 4)
        failing = {f["test"]: f["message"] for f in ran.report.get("failures", ())}
        return failing, shop.problem(ran)

    with _pool(shops) as pool:
        found = list(pool.map(run, shops, shares))
    failing = {test: message for part, _ in found for test, message in part.items()}
    return failing, [problem for _, problem in found if problem]


def red_test(mutant: Mutant, failing: Iterable[str]) -> str:
    """A test of a mutant's selection that fails without it; empty if there is none."""
    for test in failing:
        for selected in mutant.tests:
            if test == selected or test.startswith((f"{selected}::", f"{selected}[")):
                return test
    return ""


def try_all(
    shops: Sequence[Workshop],
    mutants: Sequence[Mutant],
    told: Callable[[Mutant, Outcome], None],
    timeout_seconds: float = TIMEOUT_SECONDS,
    failing: Iterable[str] = (),
) -> dict[Mutant, Outcome]:
    """Try every mutant, one at a time per workshop; tells each outcome as it comes.

    A mutant whose selection holds one of the `failing` tests is not tried.
    """
    free: queue.SimpleQueue[Workshop] = queue.SimpleQueue()
    for shop in shops:
        free.put(shop)

    def work(mutant: Mutant) -> Outcome:
        if red := red_test(mutant, failing):
            return Outcome(Verdict.BROKEN, f"fails without it: {red}", 0.0)
        shop = free.get()
        try:
            return shop.try_out(mutant, timeout_seconds)
        finally:
            free.put(shop)

    outcomes = {}
    with _pool(shops) as pool:
        running = {pool.submit(work, mutant): mutant for mutant in mutants}
        for future in as_completed(running):
            mutant = running[future]
            outcomes[mutant] = future.result()
            told(mutant, outcomes[mutant])
    return outcomes
