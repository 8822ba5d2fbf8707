"""What an index lacks, by keys and revisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Differences:
    """How many rows are not in the index, are older there, or are only there."""

    missing: int
    stale: int
    ghosts: int

    @property
    def rows(self) -> int:
        """All together."""
        return self.missing + self.stale + self.ghosts

    def __str__(self) -> str:
        return f"{self.missing} missing, {self.stale} stale, {self.ghosts} ghosts"


def differences(table: Mapping[int, int], index: Mapping[int, int]) -> Differences:
    """Compare revisions by key.

    >>> str(differences({1: 1, 2: 5, 3: 1}, {2: 4, 3: 1, 4: 1}))
    '1 missing, 1 stale, 1 ghosts'
    """
    return Differences(
        missing=len(table.keys() - index.keys()),
        stale=sum(1 for id in table.keys() & index.keys() if table[id] != index[id]),
        ghosts=len(index.keys() - table.keys()),
    )
