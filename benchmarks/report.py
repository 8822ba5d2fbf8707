"""Figures against what they must reach: as a table, as a JSON line, and in history.jsonl."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import latest
from benchmarks.latest import number

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing, a value per round.

    `must` and `aim` are the least values, or with `at_most` the greatest; None: only told.
    """

    what: str
    values: Sequence[float]
    unit: str = ""
    must: float | None = None
    aim: float | None = None
    at_most: bool = False

    @property
    def median(self) -> float:
        """The value that counts."""
        return statistics.median(self.values)

    def reaches(self, bound: float | None) -> bool | None:
        """Whether the median is as good as this; None if there is no bound."""
        if bound is None:
            return None
        return self.median <= bound if self.at_most else self.median >= bound

    def value(self) -> dict[str, Any]:
        """For the JSON line."""
        return {
            "what": self.what, "median": rounded(self.median), "min": rounded(min(self.values)),
            "max": rounded(max(self.values)), "rounds": len(self.values), "unit": self.unit,
            "must": self.must, "aim": self.aim, "at_most": self.at_most,
            "reached": self.reaches(self.must), "aim_reached": self.reaches(self.aim),
        }  # fmt: skip

    def row(self) -> tuple[str, ...]:
        """For the table."""
        sign = "<=" if self.at_most else ">="
        bounds = [f"{sign} {number(b)}" if b is not None else "" for b in (self.must, self.aim)]
        verdict = {None: "", True: "reached", False: "NOT REACHED"}[self.reaches(self.must)]
        verdict += ", aim too" if self.reaches(self.must) and self.reaches(self.aim) else ""
        spread = f"[{number(min(self.values))} - {number(max(self.values))}]"
        return (self.what, f"{number(self.median)} {self.unit}".strip(), spread, *bounds, verdict)


HEADER = ("what", "median", "range", "must", "aim", "")


def rounded(value: float) -> float:
    """Four digits are more than a measurement is worth."""
    return float(f"{value:.4g}")


def reached(figures: Sequence[Figure]) -> bool:
    """Whether every figure is as good as it must be."""
    return all(figure.reaches(figure.must) is not False for figure in figures)


def table(figures: Sequence[Figure]) -> list[str]:
    """The lines of a table."""
    rows = [HEADER, *(figure.row() for figure in figures)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(HEADER))]
    padded = [[c.ljust(w) for c, w in zip(row, widths, strict=True)] for row in rows]
    return ["  ".join(cells).rstrip() for cells in padded]


def publish(
    name: str, form: str, versions: Mapping[str, str], figures: Sequence[Figure], record: bool,
    stolen_percent: float = 0.0,
) -> None:
    """Print the table and the JSON line; with `record`, append the line to the history.

    `stolen_percent` is what the machine's host took of its processors meanwhile.
    """
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {memory_gigabytes()} GB"
    line = json.dumps({
        "benchmark": name, "form": form, "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine, "stolen_percent": rounded(stolen_percent),
        "versions": {**versions, **own_versions()},
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "reached": reached(figures), "figures": [figure.value() for figure in figures],
    })  # fmt: skip
    print(f"\n{name}, {form} form   ({machine}, {stolen_percent:.1f} % stolen)")
    print("\n".join(f"  {row}" for row in table(figures)))
    print(line, flush=True)
    if record:
        with latest.HISTORY.open("a") as file:
            file.write(f"{line}\n")
        latest.write()


def own_versions() -> dict[str, str]:
    """Of Python, and the commit of this tree."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return {"Python": platform.python_version(), "txid-sync": done.stdout.strip() or "unknown"}


def memory_gigabytes() -> int:
    """Of the machine."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
