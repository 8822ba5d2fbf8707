"""The tables that the load generator writes, as the catalog shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection

from txid_sync.errors import PreconditionError
from txid_sync.sql import load

BLOCKS = load("generator.sql")
KEPT_BY_TRIGGERS = ("version", "version_txid")


@dataclass(frozen=True, slots=True)
class LoadColumn:
    """A column to write; `labels` are those of an enum."""

    name: str
    type: str
    array: bool
    labels: tuple[str, ...]
    not_null: bool


@dataclass(frozen=True, slots=True)
class Parent:
    """A foreign key: the parent's place in the list of tables, and the columns on both sides."""

    table: int
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadTable:
    """A table to write; `moving` are the key columns that choose the partition."""

    schema: str
    name: str
    key: tuple[LoadColumn, ...]
    others: tuple[LoadColumn, ...]
    moving: tuple[str, ...]
    parents: tuple[Parent, ...]
    is_parent: bool

    @property
    def alone(self) -> bool:
        """Whether no foreign key begins or ends here."""
        return not self.parents and not self.is_parent


@dataclass(frozen=True, slots=True)
class Powers:
    """What server and role allow: two-phase commits, writes as a replica."""

    two_phase: bool
    replica: bool


def rows(session: connection, block: str, **parameters: object) -> list[dict[str, Any]]:
    """The rows of a block of generator.sql, by column name."""
    with session.cursor() as cursor:
        cursor.execute(BLOCKS[block], parameters)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def powers(session: connection) -> Powers:
    """Ask what is allowed; raises PreconditionError on a standby."""
    (found,) = rows(session, "powers")
    if found["in_recovery"]:
        raise PreconditionError("the server is a standby, which takes no writes")
    return Powers(found["two_phase"], found["replica"])


def find_tables(session: connection, names: Sequence[str]) -> tuple[LoadTable, ...]:
    """These tables, in this order; raises PreconditionError if one is missing or has no key.

    Foreign keys to tables that are not among them are not allowed: their rows are not known.
    """
    found = {}
    for name in names:
        table = rows(session, "table", table=name)
        if not table:
            raise PreconditionError(
                f"table {name} does not exist",
                "make the demo tables: psql -d sync-test -f apply-schema.sql",
            )
        found[table[0]["relation"]] = table[0]
    places = {relation: place for place, relation in enumerate(found)}
    parents = {r: _parents(session, found[r], places) for r in found}
    pointed_to = {p.table for several in parents.values() for p in several}
    return tuple(
        _table(session, found[r], parents[r], places[r] in pointed_to) for r in found
    )


def _parents(
    session: connection, table: Mapping[str, Any], places: Mapping[str, int]
) -> tuple[Parent, ...]:
    keys = rows(session, "parents", relation=table["relation"])
    if any(key["relation"] not in places for key in keys):
        raise PreconditionError(
            f"table {table['name']} has a foreign key to a table that is not written",
            "name both tables, or neither",
        )
    return tuple(
        Parent(places[k["relation"]], tuple(k["columns"]), tuple(k["parent_columns"]))
        for k in keys
    )


def _table(
    session: connection, table: Mapping[str, Any], parents: tuple[Parent, ...], is_parent: bool
) -> LoadTable:
    found = rows(session, "columns", relation=table["relation"])
    key = sorted((c for c in found if c["key_place"] >= 0), key=lambda c: int(c["key_place"]))
    if not key:
        raise PreconditionError(f"table {table['name']} has no primary key")
    others = [c for c in found if c["key_place"] < 0 and c["name"] not in KEPT_BY_TRIGGERS]
    return LoadTable(
        schema=table["schema"],
        name=table["name"],
        key=tuple(map(_column, key)),
        others=tuple(map(_column, others)),
        moving=tuple(c["name"] for c in key if c["partition_key"]),
        parents=parents,
        is_parent=is_parent,
    )


def _column(found: Mapping[str, Any]) -> LoadColumn:
    return LoadColumn(
        found["name"], found["type"], found["array"], tuple(found["labels"]), found["not_null"]
    )
