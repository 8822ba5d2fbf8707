"""The SQL of this package: files of named blocks, read once.

A block begins with a line `-- name --` and ends at the next one.  Lines that hold only a comment
are left out of the text, so that a comment may speak of `%` or of braces.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_HEAD = re.compile(r"-- (\w+) --")


@cache
def load(file: str) -> dict[str, str]:
    """The blocks of one file of this folder, by name; what precedes the first one is ignored."""
    return parse(text(file))


def text(file: str) -> str:
    """One file of this folder as it is."""
    return (files(__name__) / file).read_text(encoding="utf-8")


def parse(blocks_text: str) -> dict[str, str]:
    """The blocks of a text; raises ValueError if two have one name."""
    blocks: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in blocks_text.splitlines():
        head = _HEAD.fullmatch(line.strip())
        if head is not None:
            if head[1] in blocks:
                raise ValueError(f"two blocks are named {head[1]!r}")
            lines = blocks[head[1]] = []
        elif not line.lstrip().startswith("--"):
            lines.append(line)
    return {name: "\n".join(lines).strip() for name, lines in blocks.items()}
