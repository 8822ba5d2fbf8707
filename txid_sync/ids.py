r"""Document ids: a reversible, injective text of a key.

Each key column's text output, with `\` written as `\\` and `,` as `\,`, joined by `,`.  A key that
consists of one empty text is written `\0`, because an index takes no empty id.

| key           | id         |
|---------------|------------|
| (7)           | `7`        |
| (a, 1)        | `a,1`      |
| (a,b)         | `a\,b`     |
| ("")          | `\0`       |
| ("", "")      | `,`        |

>>> encode(("a,b", "c\\d"))
'a\\,b,c\\\\d'
>>> decode(encode(("a,b", "c\\d")), 2)
('a,b', 'c\\d')
>>> decode("7", 2) is None, decode("a\\b", 1) is None       # what no key is written as
(True, True)
>>> encode(("",)), decode("\\0", 1)
('\\0', ('',))
>>> decode_all(["7", "a,b"], 1)
(Keys(ids=['7'], columns=[['7']]), ['a,b'])
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

EMPTY = "\\0"
_PART = re.compile(r"(?:[^\\,]|\\\\|\\,)*")
_SPECIAL = re.compile(r"[\\,\0]")


@dataclass(frozen=True, slots=True)
class Keys:
    """Ids with their keys: a list for each column of the key, in the order of the ids."""

    ids: Sequence[str]
    columns: Sequence[Sequence[str]]

    def part(self, of: slice) -> Keys:
        """Some of them."""
        return Keys(self.ids[of], [column[of] for column in self.columns])


def encode(key: Sequence[str]) -> str:
    """The id of a key given as the text output of its columns."""
    if len(key) == 1 and key[0] == "":
        return EMPTY
    return ",".join(part.replace("\\", "\\\\").replace(",", "\\,") for part in key)


def decode(id: str, columns: int) -> tuple[str, ...] | None:
    """The key of an id, as texts; None if no key of so many columns has this id."""
    if id == EMPTY and columns == 1:
        return ("",)
    parts, place = [], 0
    while True:
        match = _PART.match(id, place)
        assert match is not None
        parts.append(re.sub(r"\\(.)", r"\1", match[0], flags=re.DOTALL))
        place = match.end()
        if place == len(id):
            break
        if id[place] != ",":
            return None
        place += 1
    key = tuple(parts)
    return key if len(key) == columns and encode(key) == id else None


def decode_all(ids: Sequence[str], columns: int) -> tuple[Keys, Sequence[str]]:
    """The keys of many ids, and the ids that no key in PostgreSQL has.

    Ids without a special character are their keys, told of all of them at once.
    """
    if columns == 1 and all(ids) and not _SPECIAL.search("".join(ids)):
        return Keys(ids, [ids]), []
    keys = {id: decode(id, columns) for id in ids if "\0" not in id}
    known = [(id, key) for id, key in keys.items() if key is not None]
    return (
        Keys([id for id, _ in known], [[key[n] for _, key in known] for n in range(columns)]),
        [id for id in ids if keys.get(id) is None],
    )
