"""The table of the latest results in README.md, made from history.jsonl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HISTORY = Path(__file__).with_name("history.jsonl")
README = HISTORY.with_name("README.md")
BEGIN, END = "<!-- latest -->\n", "<!-- end -->\n"
HEADER = "| what | median | range | must | aim | |\n|---|---|---|---|---|---|\n"


def latest() -> list[Mapping[str, Any]]:
    """The last line of each benchmark, in the order of their names."""
    lines = HISTORY.read_text().splitlines() if HISTORY.exists() else []
    found = {line["benchmark"]: line for line in map(json.loads, lines)}
    return [found[name] for name in sorted(found)]


def rendered(lines: list[Mapping[str, Any]]) -> str:
    """The section of README.md."""
    parts = []
    for line in lines:
        versions = ", ".join(f"{name} {number}" for name, number in line["versions"].items())
        title = f"**{line['benchmark']}**, {line['form']} form, {line['when'][:10]}"
        stolen = f", {line['stolen_percent']:.1f} % stolen" if "stolen_percent" in line else ""
        parts.append(f"\n{title}, {line['machine']}{stolen}; {versions}\n\n{HEADER}")
        parts += [row(figure) for figure in line["figures"]]
    return "".join([*parts, "\n"])


def row(figure: Mapping[str, Any]) -> str:
    """One figure."""
    sign = "≤" if figure["at_most"] else "≥"
    must, aim = (f"{sign} {b:g}" if b is not None else "" for b in (figure["must"], figure["aim"]))
    verdict = {None: "", True: "reached", False: "**not reached**"}[figure["reached"]]
    verdict += ", aim too" if figure["reached"] and figure["aim_reached"] else ""
    spread = f"{number(figure['min'])} – {number(figure['max'])}"
    median = f"{number(figure['median'])} {figure['unit']}".strip()
    return f"| {figure['what']} | {median} | {spread} | {must} | {aim} | {verdict} |\n"


def number(value: float) -> str:
    """For people.

    >>> number(0.8512), number(12.345), number(123456.7)
    ('0.851', '12.3', '123,457')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def replaced(text: str, section: str) -> str:
    """README.md with another section; raises ValueError if it has no place for one."""
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError("README.md has no place for the latest results")
    return f"{before}{BEGIN}{section}{END}{after}"


def write() -> None:
    """Bring README.md up to date."""
    README.write_text(replaced(README.read_text(), rendered(latest())))


if __name__ == "__main__":
    write()
