"""JSON as values that are equal only where nothing at all differs but white space and key order.

Numbers are compared by their text: 1 is not 1.0, and the 20th digit counts.  A number never equals
a string, nor true the number 1; of an object's repeated names none is lost.

>>> read('{"a": 1, "b": [true]}') == read('{"b":[true],"a":1}')
True
>>> [read(a) == read(b) for a, b in (("1", "1.0"), ('"1"', "1"), ("true", "1"), ("[1,2]", "[2,1]"))]
[False, False, False, False]
>>> read('{"a": null}') == read("{}"), read('{"a": 1, "a": 2}') == read('{"a": 2}')
(False, False)
>>> differing(read('{"a": 1, "b": 2, "c": 3}'), read('{"a": 1, "b": 2.0, "d": 4}'))
['b', 'c', 'd']
"""

from __future__ import annotations

import json
from typing import Any

NUMBER = "number"


class Object(dict[str, Any]):
    """An object; with repeated names it is equal only to one with the same repetitions."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self._repeated = sorted(pairs, key=_first) if len(self) != len(pairs) else None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Object)
            and self._repeated == other._repeated
            and super().__eq__(other)
        )

    __hash__ = None

    def __ne__(self, other: object) -> bool:
        return not self == other  # dict's own would not see repetitions


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]


def _number(text: str) -> tuple[str, str]:
    return (NUMBER, text)


def read(text: str | bytes) -> Any:
    """A JSON text as values; a number is the tuple (NUMBER, its text).  Raises ValueError."""
    return json.loads(
        text,
        object_pairs_hook=Object,
        parse_float=_number,
        parse_int=_number,
        parse_constant=_number,
    )


def whole(number: Any) -> int:
    """The value of a number that `read` gave."""
    return int(number[1])


def differing(one: Any, other: Any) -> list[str]:
    """The names that two objects do not both have with equal values, in order."""
    if not (isinstance(one, Object) and isinstance(other, Object)):
        return []
    missing = object()
    names = {*one, *other}
    return sorted(n for n in names if one.get(n, missing) != other.get(n, missing))
