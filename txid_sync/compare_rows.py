"""The PostgreSQL side of a comparison: rows in the order of their key, and look-ups of keys.

Rows look as they do when they are synced (the session is pinned in the same way), but which key a
row has and how its id is written is worked out here, not by the statements of the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql

from txid_sync import ids
from txid_sync.errors import PreconditionError
from txid_sync.model import Document, Limits
from txid_sync.pagesize import PageSize
from txid_sync.sources.postgres_errors import is_poison, is_too_much, translate
from txid_sync.sources.postgres_session import QUERIES, Session, search_path
from txid_sync.sources.postgres_sql import name, percent
from txid_sync.sql import load

BLOCKS = load("compare.sql")
PAGE = Limits(documents=2000, body_bytes=4 * 2**20)

SQL = sql.SQL


@dataclass(frozen=True, slots=True)
class Row:
    """A row: the id its document must have, and the document as JSON."""

    id: str
    json: str


@dataclass(frozen=True, slots=True)
class _Table:
    schema: str
    name: str
    relation: str
    key: tuple[tuple[str, str], ...]  # (column, type to cast a text to)


class TableReader:
    """Reads one document's rows; raises PreconditionError if there is no such table or key."""

    def __init__(self, session: Session, document: Document) -> None:
        self._session = session
        self._document = document
        self._path: sql.Composable = SQL("")
        self._table = self._find()
        self._parts = self._compose()

    def pages(self) -> Iterator[Sequence[Row]]:
        """All rows, in the order of the key; each page is a statement of its own."""
        self._session.run(self._path)
        size = PageSize()
        after: sql.Composable = SQL("true")
        parameters: dict[str, Any] = {}
        while True:
            limit = size.within(PAGE)
            query = SQL(BLOCKS["rows"]).format(**self._parts, after=after)
            found = self._session.rows(query, {**parameters, "limit": limit})
            rows = [Row(ids.encode(row["key"]), row["json"]) for row in found]
            if rows:
                yield rows
                size.learn(len(rows), sum(len(row.json) for row in rows))
            if len(rows) < limit:
                return
            after = self._parts["key_after"]
            parameters = {f"k{n}": text for n, text in enumerate(found[-1]["key"], 1)}

    def present(self, wanted: Sequence[str]) -> set[str]:
        """Those of these document ids that a row has; an id that no key is written as has none."""
        width = len(self._table.key)
        keys = [key for key in (ids.decode(text, width) for text in wanted) if key is not None]
        return self._present(keys).intersection(wanted) if keys else set()

    def _present(self, keys: Sequence[tuple[str, ...]]) -> set[str]:
        self._session.run(self._path)
        columns = zip(*keys, strict=True)
        parameters = {f"k{n}": list(texts) for n, texts in enumerate(columns, 1)}
        try:
            row = self._session.raw_row(SQL(BLOCKS["present"]).format(**self._parts), parameters)
        except psycopg2.Error as error:
            if not (is_poison(error) or (is_too_much(error) and len(keys) > 1)):
                raise translate(error, "look up keys in PostgreSQL") from None
            if len(keys) == 1:
                return set()  # not even a value of the key's type, so no row has it
            half = len(keys) // 2
            return self._present(keys[:half]) | self._present(keys[half:])
        except ValueError:  # a text with a zero byte, which the driver refuses to send
            return self._present([key for key in keys if "\0" not in "".join(key)])
        return {ids.encode(key) for key in row["keys"]}

    def _find(self) -> _Table:
        wanted = self._document.table
        found = self._session.rows(QUERIES["resolve"], {"table": wanted})
        if not found:
            raise PreconditionError(
                f"table {wanted} does not exist",
                "the demo tables are made by: psql -f apply-schema.sql",
            )
        relation = found[0]["relation"]
        key = self._key(relation)
        # With an empty path the server writes the names of types in full, whatever they hide.
        before = self._session.row("select current_setting('search_path') as path")["path"]
        self._session.run("set search_path = ''")
        columns = self._session.rows(
            QUERIES["key_columns"], {"relation": relation, "key": key}
        )
        self._session.run(
            "select set_config('search_path', %(path)s, false)", {"path": before}
        )
        if len(columns) != len(key):
            raise PreconditionError(f"table {wanted} no longer has the key it was tracked by")
        self._path = search_path([column["operator_schema"] for column in columns])
        types = tuple((column["name"], column["type"]) for column in columns)
        return _Table(found[0]["schema"], found[0]["name"], relation, types)

    def _key(self, relation: str) -> list[str]:
        """The columns of the key by which the table is tracked, or else of the one it has."""
        parameters = {"relation": relation}
        blocks = ["index_key"]
        if self._session.row(BLOCKS["tracked_readable"])["yes"]:
            blocks.insert(0, "tracked_key")
        for block in blocks:
            for row in self._session.rows(BLOCKS[block], parameters):
                return list(row["key"])
        raise PreconditionError(
            f"table {self._document.table} has no primary key and no unique index over columns "
            "that are not null"
        )

    def _compose(self) -> dict[str, sql.Composable]:
        document, table = self._document, self._table
        numbers = [str(n) for n in range(1, len(table.key) + 1)]
        row = [SQL("t.{}").format(name(column)) for column, _ in table.key]
        types = [SQL(percent(type_name)) for _, type_name in table.key]
        pairs = list(zip(numbers, types, strict=True))
        comma = SQL(", ")
        chosen = comma.join([SQL("t.{}").format(name(c)) for c in document.columns])
        after = comma.join([SQL("%(k{})s::{}").format(SQL(n), kind) for n, kind in pairs])
        return {
            "table": name(table.schema, table.name),
            "condition": SQL(percent(document.where) or "true"),
            "order": comma.join(row),
            "key_texts": SQL("array[{}]").format(
                comma.join([SQL("{}::text").format(column) for column in row])
            ),
            "key_after": SQL("({}) > ({})").format(comma.join(row), after),
            "row_json": SQL("row_to_json(c.*)" if document.columns else "row_to_json(t.*)"),
            "row_source": SQL("cross join lateral (select {}) c").format(chosen)
            if document.columns
            else SQL(""),
            "names": SQL(", ".join(f"k{n}" for n in numbers)),
            "arrays": SQL(", ".join(f"%(k{n})s::text[]" for n in numbers)),
            "casts": comma.join(
                [SQL("given.k{0}::{1} as k{0}").format(SQL(n), kind) for n, kind in pairs]
            ),
            "match": SQL(" and ").join(
                [SQL("{} = w.k{}").format(c, SQL(n)) for c, n in zip(row, numbers, strict=True)]
            ),
        }
