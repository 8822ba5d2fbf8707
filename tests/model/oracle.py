"""Choices: whatever is left open asks an oracle, so that every answer can be tried in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class Oracle:
    """Answers by a prefix of choices, then always with the first option; remembers what it said."""

    def __init__(self, prefix: Sequence[int] = ()) -> None:
        self._prefix = prefix
        self._taken: list[int] = []
        self._widths: list[int] = []
        self.labels: list[str] = []

    def choose(self, options: Sequence[str]) -> str:
        """One of the options; the first is the ordinary one and is not worth a word."""
        if len(options) == 1:
            return options[0]
        at = len(self._taken)
        choice = self._prefix[at] if at < len(self._prefix) else 0
        self._taken.append(choice)
        self._widths.append(len(options))
        if choice:
            self.labels.append(options[choice])
        return options[choice]

    def others(self) -> Iterator[tuple[int, ...]]:
        """The prefixes that lead to all answers not given yet, each to one."""
        for at in range(len(self._prefix), len(self._taken)):
            for choice in range(1, self._widths[at]):
                yield (*self._taken[:at], choice)
