"""From a table's columns to an index mapping.  Pure: no I/O.

Rules
-----
1. No value that PostgreSQL can hold may make Elasticsearch refuse its document: what does not fit
   a field's type is left out of that field's index (`ignore_malformed`, `ignore_above`), while the
   document keeps it as it is.
2. `dynamic` is false: a column that is not mapped is kept in the document, and not searchable.
3. An array is mapped as its element, whatever its dimensions.
4. What may hold anything (json, composite, unknown types) is kept and not indexed at all.
5. A column's mapping can be replaced by `Document.mapping`, which is then taken as it is.

The table of types is `TYPES`; docs/mapping.md shows it, and a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from txid_sync.errors import PreconditionError, UsageError
from txid_sync.model import Column, Document, Schema

FieldMapping = Mapping[str, object]

# A term may have 32766 bytes, a character in UTF-8 up to 4.
IGNORE_ABOVE = 8191
DEFAULT_FIELD_LIMIT = 1000
DATE_FORMAT = "strict_date_optional_time||date_optional_time"

_KEYWORD: FieldMapping = {"type": "keyword", "ignore_above": IGNORE_ABOVE}
_TEXT: FieldMapping = {"type": "text", "fields": {"keyword": _KEYWORD}}
_DATE: FieldMapping = {"type": "date", "format": DATE_FORMAT, "ignore_malformed": True}
_KEPT: FieldMapping = {"type": "object", "enabled": False}


def _number(kind: str) -> FieldMapping:
    return {"type": kind, "ignore_malformed": True}


TYPES: Sequence[tuple[tuple[str, ...], FieldMapping]] = (
    (("int2",), _number("short")),
    (("int4",), _number("integer")),
    (("int8", "oid", "xid", "cid"), _number("long")),
    (("float4", "float8", "numeric"), _number("double")),
    (("bool",), {"type": "boolean"}),
    (("text", "varchar", "bpchar", "citext", "xml", "tsvector", "tsquery"), _TEXT),
    (("date", "timestamp", "timestamptz"), _DATE),
    (("inet",), {"type": "ip", "ignore_malformed": True}),
    (
        (
            "uuid", "name", "char", "bit", "varbit", "money", "interval", "time", "timetz",
            "macaddr", "macaddr8", "cidr", "pg_lsn", "tid", "xid8", "ltree", "lquery",
            "txid_snapshot", "pg_snapshot", "regclass", "regtype", "regproc", "regprocedure",
            "regoper", "regoperator", "regrole", "regnamespace", "regconfig", "regdictionary",
            "regcollation", "point", "line", "lseg", "box", "path", "polygon", "circle",
        ),
        _KEYWORD,
    ),
    (("bytea",), {"type": "keyword", "index": False, "doc_values": False}),
    (("json", "jsonb", "jsonpath", "hstore"), _KEPT),
)  # fmt: skip
KINDS: Mapping[str, FieldMapping] = {"enum": _KEYWORD, "range": _KEYWORD, "composite": _KEPT}
OTHERS = _KEPT

# SQL's names of types whose names in the catalog are others.
ALIASES: Mapping[str, str] = {
    "smallint": "int2",
    "integer": "int4",
    "bigint": "int8",
    "real": "float4",
    "double precision": "float8",
    "boolean": "bool",
    "character varying": "varchar",
    "character": "bpchar",
    '"char"': "char",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "time without time zone": "time",
    "time with time zone": "timetz",
    "bit varying": "varbit",
}

# Fields that Elasticsearch or OpenSearch have in every index: as columns, they would be refused,
# some of them with every document.
RESERVED = frozenset(
    [
        "_all", "_data_stream_timestamp", "_doc_count", "_feature", "_field_names", "_id",
        "_ignored", "_ignored_source", "_index", "_inference_fields", "_nested_path", "_parent",
        "_primary_term", "_recovery_source", "_routing", "_seq_no", "_size", "_source", "_tier",
        "_timestamp", "_ts_routing_hash", "_tsid", "_ttl", "_type", "_uid", "_version",
    ]
)  # fmt: skip

_BY_TYPE: Mapping[str, FieldMapping] = {name: m for names, m in TYPES for name in names}


def field_mapping(column: Column) -> FieldMapping:
    """The mapping of one column, by its kind and its type."""
    if column.kind in KINDS:
        return KINDS[column.kind]
    return _BY_TYPE.get(ALIASES.get(column.type, column.type), OTHERS)


def index_mapping(schema: Schema, document: Document) -> dict[str, object]:
    """The mapping of a document's index, as the `mappings` of a create request.

    Raises PreconditionError for a column that no index can hold, UsageError for a column in
    `Document.mapping` that is not there.
    """
    columns = chosen_columns(schema, document)
    check_names([column.name for column in columns], document.table)
    unknown = set(document.mapping) - {column.name for column in columns}
    if unknown:
        raise UsageError(
            f"mapping of {document.table} names a column that is not synced: {min(unknown)!r}"
        )
    properties = {c.name: dict(document.mapping.get(c.name) or field_mapping(c)) for c in columns}
    return {"dynamic": False, "properties": properties}


def index_settings(schema: Schema, document: Document) -> dict[str, object]:
    """The settings that the mapping needs: a higher limit of fields for very wide tables."""
    fields = 2 * len(chosen_columns(schema, document)) + 100
    if fields <= DEFAULT_FIELD_LIMIT:
        return {}
    return {"index.mapping.total_fields.limit": fields}


def chosen_columns(schema: Schema, document: Document) -> Sequence[Column]:
    """The columns that are in the document."""
    if not document.columns:
        return schema.columns
    return [column for column in schema.columns if column.name in document.columns]


def check_names(names: Sequence[str], table: str) -> None:
    """Raise PreconditionError for the first column name that an index can not hold.

    A dot makes a field of an object, so each part must be a name; and no column may be named like
    such an object.
    """
    taken = set(names)
    for name in names:
        parts = name.split(".")
        above = {".".join(parts[:n]) for n in range(1, len(parts))}
        if parts[0] in RESERVED:
            problem = "the name is that of a field of every index"
        elif any(not part.strip() for part in parts):
            problem = "a part of the name is empty"
        elif above & taken:
            problem = f"column {min(above & taken)!r} would have to hold it as an object"
        else:
            continue
        raise PreconditionError(
            f"column {name!r} of {table} can not be a field of an index: {problem}",
            "leave it out: list the other columns in `columns`",
        )
