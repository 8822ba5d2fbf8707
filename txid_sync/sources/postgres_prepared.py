"""Statements that are parsed and planned once for each connection.

`execute` takes its snapshot before it locks its tables: where it has to wait for a lock, it would
see a truncated or rewritten table with a snapshot from before that.  So the tables are locked by a
statement of their own in the same message.  Both are one implicit transaction, over when the answer
comes, and the second has a snapshot of its own, taken behind the lock.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import extensions, sql

_PARAMETER = re.compile(r"%(?:%|\((\w+)\)s)")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement with its name, and the tables that it reads rows from."""

    name: str
    query: sql.Composable
    tables: tuple[sql.Composable, ...] = ()

    def texts(self, context: extensions.cursor) -> tuple[str, str]:
        """What prepares it, which has no parameters any more, and what runs it, which has them."""
        names: dict[str, int] = {}

        def numbered(found: re.Match[str]) -> str:
            name = found[1]
            return "%" if name is None else f"${names.setdefault(name, len(names) + 1)}"

        text = _PARAMETER.sub(numbered, self.query.as_string(context))
        values = f"({', '.join(f'%({name})s' for name in names)})" if names else ""
        lock = sql.SQL(", ").join(self.tables).as_string(context)
        locked = f"lock table {lock} in access share mode; " if lock else ""
        return f"prepare {self.name} as {text}", f"{locked}execute {self.name}{values}"


def array(values: Sequence[int | str]) -> str:
    r"""An array as PostgreSQL reads it from a text; a list of the driver is an expression for each
    element, which takes milliseconds to parse where there are thousands.

    >>> print(array([3, 5]), array(["a", 'b"']))
    {"3","5"} {"a","b\""}
    """
    texts = [str(value) for value in values]
    inner = '","'.join(texts)
    if "\\" in inner or inner.count('"') != 2 * max(len(texts) - 1, 0):
        inner = '","'.join([text.replace("\\", "\\\\").replace('"', '\\"') for text in texts])
    return f'{{"{inner}"}}' if texts else "{}"
