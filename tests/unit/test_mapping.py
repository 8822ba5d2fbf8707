"""From columns to an index mapping."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from txid_sync.errors import PreconditionError, UsageError
from txid_sync.mapping import (
    KINDS,
    OTHERS,
    RESERVED,
    TYPES,
    check_names,
    field_mapping,
    index_mapping,
    index_settings,
)
from txid_sync.model import Column, Document, Schema


def schema_of(*columns: Column) -> Schema:
    """A schema with these columns."""
    return Schema(columns, (columns[0].name,), "1", "1")


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (Column("a", "int8"), "long"),
        (Column("a", "bigint"), "long"),
        (Column("a", "int4", array=True), "integer"),
        (Column("a", "numeric"), "double"),
        (Column("a", "double precision"), "double"),
        (Column("a", "text"), "text"),
        (Column("a", "character varying"), "text"),
        (Column("a", "uuid"), "keyword"),
        (Column("a", "timestamp with time zone"), "date"),
        (Column("a", "inet"), "ip"),
        (Column("a", "cidr"), "keyword"),
        (Column("a", "bytea"), "keyword"),
        (Column("a", "jsonb"), "object"),
        (Column("a", "text", kind="enum"), "keyword"),
        (Column("a", "int4range", kind="range"), "keyword"),
        (Column("a", "pair", kind="composite"), "object"),
        (Column("a", "geometry"), "object"),
        (Column("a", "record", kind="pseudo"), "object"),
    ],
)
def test_types_have_their_fields(column: Column, kind: str) -> None:
    """Names of the catalog and of SQL, arrays, kinds, and types that nobody knows."""
    assert field_mapping(column)["type"] == kind


def test_nothing_that_may_not_fit_is_without_a_way_out() -> None:
    """Every mapping but text, boolean and those not indexed ignores what it can not index."""
    for _, mapping in [*TYPES, ((), OTHERS), *(((), m) for m in KINDS.values())]:
        safe = mapping.get("ignore_malformed") or mapping.get("ignore_above")
        kept = mapping.get("enabled") is False or mapping.get("index") is False
        assert safe or kept or mapping["type"] in ("text", "boolean"), mapping


def test_only_chosen_columns_are_mapped() -> None:
    """`columns` chooses, `mapping` replaces, `dynamic` is false."""
    schema = schema_of(Column("a", "int8"), Column("b", "jsonb"), Column("c", "text"))
    document = Document("t", "i", columns=("a", "b"), mapping={"b": {"type": "flattened"}})
    assert index_mapping(schema, document) == {
        "dynamic": False,
        "properties": {
            "a": {"type": "long", "ignore_malformed": True},
            "b": {"type": "flattened"},
        },
    }


def test_a_mapping_for_no_column_is_refused() -> None:
    """A misspelt column name is told, not ignored."""
    with pytest.raises(UsageError, match="'z'"):
        index_mapping(schema_of(Column("a", "int8")), Document("t", "i", mapping={"z": {}}))


def test_wide_tables_get_a_higher_limit() -> None:
    """Over a thousand fields, sub-fields counted, need a setting; others need none."""
    wide = schema_of(*(Column(f"c{i}", "text") for i in range(1600)))
    assert index_settings(wide, Document("t", "i")) == {"index.mapping.total_fields.limit": 3300}
    assert index_settings(schema_of(Column("a", "text")), Document("t", "i")) == {}


@pytest.mark.parametrize(
    "name", [*sorted(RESERVED), "_id.x", ".", ".a", "a.", "a..b", " ", "a. .b"]
)
def test_names_that_an_index_refuses_are_refused_first(name: str) -> None:
    """With the column, the table, and what to do."""
    with pytest.raises(PreconditionError) as caught:
        check_names(["ok", name], "public.t")
    assert repr(name) in caught.value.message
    assert "public.t" in caught.value.message
    assert "columns" in caught.value.hint


def test_a_column_may_not_be_an_object_and_a_value() -> None:
    """`a` beside `a.b` is refused, `a.b` alone or beside `ab` is not."""
    check_names(["a.b", "ab", "_x", "a.c"], "t")
    for names in (["a", "a.b"], ["a.b.c", "a.b"], ["a.b.c", "a"]):
        with pytest.raises(PreconditionError, match="as an object"):
            check_names(names, "t")


def test_the_documentation_shows_this_table() -> None:
    """docs/mapping.md has each row of the table, in order."""
    text = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text()
    table = [(", ".join(f"`{name}`" for name in names), mapping) for names, mapping in TYPES]
    table += [(f"any {kind}", mapping) for kind, mapping in KINDS.items()]
    table.append(("any other", OTHERS))
    rows = [f"| {name} | `{json.dumps(mapping)}` |" for name, mapping in table]
    assert "\n".join(rows) in text.replace("\\|", "|")
