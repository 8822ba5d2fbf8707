"""The list of mutants: one line of the real code changed, and the tests that must notice it.

The entries are the files `lists/*.toml`, one per area; each has:

* `name`    unique, says what was changed,
* `breaks`  one sentence: what goes wrong with it,
* `file`    the file that is changed, from the root of the repository,
* `old`     a text that occurs in it exactly once; `new` is what stands there instead,
* `tests`   what pytest is to run: files or node ids, of which one must fail,
* `by_timeout` (rare) it is killed when those tests do not come to an end.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LISTS = Path(__file__).parent / "lists"


class BadEntry(Exception):
    """An entry of the list cannot be applied."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of one place in one file, and the selection of tests that must kill it."""

    area: str
    name: str
    breaks: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    by_timeout: bool = False

    def changed(self, root: Path) -> str:
        """The file's text with the change; raises BadEntry unless it fits exactly once."""
        path = root / self.file
        if not path.is_file():
            raise BadEntry(f"{self.name}: there is no file {self.file}")
        text = path.read_text(encoding="utf-8")
        found = text.count(self.old)
        if not self.old or found != 1 or self.old == self.new:
            raise BadEntry(f"{self.name}: its old text occurs {found} times in {self.file}")
        return text.replace(self.old, self.new)


def listed(folder: Path = LISTS) -> list[Mutant]:
    """All entries, area by area; raises BadEntry for one that is not complete."""
    found: list[Mutant] = []
    for file in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(file.read_text(encoding="utf-8"))["mutant"]:
            try:
                found.append(Mutant(file.stem, **{**entry, "tests": tuple(entry["tests"])}))
            except (TypeError, KeyError) as error:
                name = entry.get("name", "?")
                raise BadEntry(f"{file.name}: {name}: {error}") from None
    return found


def chosen(mutants: Iterable[Mutant], names: Iterable[str], areas: Iterable[str]) -> list[Mutant]:
    """Those of these names or areas, all if neither is given; raises BadEntry for unknown ones."""
    every = list(mutants)
    names, areas = set(names), set(areas)
    unknown = (names - {m.name for m in every}) | (areas - {m.area for m in every})
    if unknown:
        raise BadEntry(f"no mutant or area is called {', '.join(sorted(unknown))}")
    if not names and not areas:
        return every
    return [m for m in every if m.name in names or m.area in areas]
