"""Figures of the contenders side by side: medians, ratios and verdicts, as a table and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

US, THEM = "txid-sync", "PGSync"
BEGIN, END = "<!-- results -->", "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Claim:
    """One line of the table: what is measured, and how many times better than PGSync it must be.

    `at_most` (instead of a ratio) bounds our own worst value.
    """

    what: str
    unit: str = ""
    more_is_better: bool = True
    must: float | None = None
    aim: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A claim with the values of each contender, one a round, in the same order."""

    claim: Claim
    values: Mapping[str, Sequence[float]]

    @property
    def ratio(self) -> float | None:
        """How many times better we are: the median over the rounds."""
        if US not in self.values or THEM not in self.values:
            return None
        pairs = list(zip(self.values[US], self.values[THEM], strict=True))
        if not self.claim.more_is_better:
            pairs = [(them, us) for us, them in pairs]
        if not pairs or any(below <= 0 for _, below in pairs):
            return None
        return statistics.median(above / below for above, below in pairs)

    @property
    def reached(self) -> bool | None:
        """Whether we are as much better as claimed; None where nothing is claimed."""
        claim = self.claim
        if US not in self.values or (THEM not in self.values and claim.at_most is None):
            return None
        if claim.at_most is not None:
            return max(self.values[US]) <= claim.at_most
        if claim.must is None:
            return None
        ratio = self.ratio
        if ratio is None:  # against nothing at all: no loss, no transactions
            return not claim.more_is_better and max(self.values[US]) == 0
        return ratio >= claim.must

    def json(self) -> dict[str, Any]:
        """For the JSON line."""
        return {
            "what": self.claim.what, "unit": self.claim.unit,
            "values": {n: [rounded(v) for v in vs] for n, vs in self.values.items()},
            "times better than PGSync": None if self.ratio is None else rounded(self.ratio),
            "must": self.claim.must, "aim": self.claim.aim, "at most": self.claim.at_most,
            "reached": self.reached,
        }  # fmt: skip

    def cells(self, names: Sequence[str]) -> list[str]:
        """For the table."""
        claim, ratio = self.claim, self.ratio
        wanted = f">= x{claim.must:g}" if claim.must is not None else ""
        wanted += f", aim x{claim.aim:g}" if claim.aim is not None else ""
        if claim.at_most is not None:
            wanted = f"<= {claim.at_most:g}"
        verdict = {None: "", True: "reached", False: "NOT REACHED"}[self.reached]
        what = f"{claim.what}, {claim.unit}" if claim.unit else claim.what
        spreads = [spread(self.values[name]) if name in self.values else "" for name in names]
        return [what, *spreads, "" if ratio is None else f"x{number(ratio)}", wanted, verdict]


def recorded(page: str, results: Sequence[str]) -> str:
    """The page with these lines in the place of its earlier results."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin
    assert end, "the page has no place for results"
    return "".join([before, begin, "\n", *(f"{line}\n" for line in results), end, after])


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    low, high = number(min(values)), number(max(values))
    middle = number(statistics.median(values))
    return middle if low == high else f"{middle} [{low} - {high}]"


def rounded(value: float) -> float:
    """Three digits are more than a measurement is worth."""
    return float(f"{value:.3g}")


def number(value: float) -> str:
    """For people."""
    return f"{rounded(value):,.0f}" if abs(value) >= 100 else f"{rounded(value):g}"


def table(lines: Sequence[Line], names: Sequence[str]) -> list[str]:
    """A table in Markdown, which a terminal shows as well."""
    rows = [["", *names, f"{US} to {THEM}", "claimed", ""], *(line.cells(names) for line in lines)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    padded = [[c.ljust(w) for c, w in zip(row, widths, strict=True)] for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in padded]
