"""What a person sees: data on stdout, messages on stderr, a live line only on a terminal."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

console = Console(stderr=True, soft_wrap=True, highlight=False)


def data(text: str) -> None:
    """A line of the result, on stdout."""
    print(text, file=sys.stdout)


def data_json(value: object) -> None:
    """The result as JSON, on stdout."""
    data(json.dumps(value, indent=2, ensure_ascii=False))


def message(text: str, style: str = "") -> None:
    """A line for the person, on stderr; never taken for markup."""
    console.print(Text(text, style))


def error(text: str, hint: str = "") -> None:
    """The one line of an error, and the one of its hint."""
    message(f"error: {one_line(text)}", "bold red")
    if hint:
        message(f"hint: {one_line(hint)}")


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows as lines of aligned columns; the first row is the head.

    >>> columns([("a", "number"), ("long", "7")])
    ['a     number', 'long  7']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


class LiveLine:
    """A line at the bottom of the terminal that changes in place; nothing anywhere else."""

    def __init__(self) -> None:
        self._live = Live(console=console, transient=True, auto_refresh=False)

    @property
    def shown(self) -> bool:
        """Whether there is a terminal to show it on."""
        return console.is_terminal

    def __enter__(self) -> Self:
        if self.shown:
            self._live.start()
        return self

    def show(self, text: str) -> None:
        """Replace the line."""
        if self.shown:
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()
