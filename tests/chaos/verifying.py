"""Verifications beside a chaos run: pass after pass of `txid-sync verify`, some with `--repair`.

Whatever the writers and the faults do, a pass finds no difference.  It may end because a server is
away for too long (exit codes 3 and 4), or because nothing can be verified for now (5).
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.world import ROOT, TABLES, World
from txid_sync.errors import ExitCode

PAUSE_SECONDS = 1.0
STEADY = ("items", "stock", "orders", "order_lines")  # never wiped, so seldom in a load
CHANCE_REPAIR = 0.3
LONGEST_SECONDS = 600.0
NOTHING = ("nothing can be verified", "is an alias of 2 indices")
ORDERLY = {
    ExitCode.OK: "no difference",
    ExitCode.SOURCE_UNREACHABLE: "source away",
    ExitCode.SINK_UNREACHABLE: "sink away",
}


class Verifications(threading.Thread):
    """Verifies until `end`; `counts` says how the passes came out."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(daemon=True)
        self._world, self._random = world, random.Random(seed)
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []

    def run(self) -> None:
        """Pass after pass."""
        while not self._ended.wait(PAUSE_SECONDS):
            repair = self._random.random() < CHANCE_REPAIR
            mode = ["--repair"] if repair else []
            self.verify(self._random.choice(STEADY), *mode, "--wait", "20", "--settle", "2")

    def end(self) -> None:
        """Break off what is under way."""
        self._ended.set()
        with self._lock:
            if self._process is not None:
                self._process.terminate()
        self.join()

    def last(self) -> None:
        """Once nothing is written any more, everything is settled."""
        found = self.verify("--restart")
        unsettled = found["unsettled"] if found else "everything"
        if unsettled != 0:
            self.problems.append(f"a quiet verification left unsettled: {unsettled}")

    def verify(self, *arguments: str) -> dict[str, Any] | None:
        """One pass; what it says, if it came to its end."""
        with self._lock:
            self._process = process = subprocess.Popen(
                ["nice", "-n", "5", sys.executable, "-m", "txid_sync", "verify", "--json",
                 "-c", str(self._config()), *arguments],
                cwd=ROOT, env=self._world.environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        try:
            out, said = process.communicate(timeout=LONGEST_SECONDS)
        finally:
            process.kill()
        mode = "repairing" if "--repair" in arguments else "reading"
        how = self._judged(process.returncode, out, said)
        self.counts[f"{mode}: {how}"] += 1
        return json.loads(out) if how == ORDERLY[ExitCode.OK] else None

    def _judged(self, code: int, out: str, said: str) -> str:
        if code < 0 and self._ended.is_set():
            return "broken off"
        if code == ExitCode.PRECONDITION and any(reason in said for reason in NOTHING):
            return "hindered"
        known = code in ORDERLY and "Traceback" not in said and " differs: " not in said
        differing = json.loads(out)["documents"] if code in (0, 1) else []
        wrong = [f for f in differing if f["missing"] or f["stale"] or f["ghosts"]]
        if known and not wrong:
            return ORDERLY[ExitCode(code)]
        what = [(f["document"], f["first"]) for f in wrong] or said[-600:]
        self.problems.append(f"verify ended with {code}: {what}")
        return "wrong"

    def _config(self) -> Path:
        path = self._world.folder / "verify.toml"
        documents = "".join(f'[[document]]\ntable = "{t}"\nindex = "{t}"\n' for t in TABLES)
        path.write_text(
            f'[pipeline]\nname = "demo"\n[source]\ndsn = "{self._world.polled_dsn}"\n'
            f'[sink]\nurl = "{self._world.search.url}"\n{documents}'
        )
        return path
