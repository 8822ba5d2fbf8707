"""The [[document]] tables of a configuration: which table becomes which index, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from txid_sync.config_place import Place, kind_of
from txid_sync.model import Document
from txid_sync.settings import CAPTURES, DOCUMENT_KEYS

_NAME_PART = re.compile(r'"((?:[^"]|"")+)"|([^".\s]+)')


def parse_documents(value: object, file: str) -> tuple[Document, ...]:
    """All documents, in the order of the file; raises UsageError."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise Place(file).wrong("document", "must be written as [[document]], once per document")
    documents = tuple(_document(entry, file, place) for place, entry in enumerate(value, 1))
    seen: dict[str, Document] = {}
    for number, document in enumerate(documents, 1):
        first = seen.setdefault(document.index, document)
        if first is not document:
            raise Place(file, f"document {number}").wrong(
                "index",
                f"is {document.index!r}, which document {first.table} writes already",
                f"give {document.table} an index of its own",
            )
    return documents


def default_index(table: str) -> str:
    """The name of an index for a table: its name without schema, in lower case.

    >>> default_index("shop.orders"), default_index('"Shop"."Order.Lines"')
    ('orders', 'order.lines')
    """
    return (table_parts(table) or [table])[-1].lower()


def table_parts(table: str) -> list[str]:
    """A possibly qualified and quoted name as its parts; empty if it is not one.

    >>> table_parts('shop."a""b"'), table_parts("a b"), table_parts("a.")
    (['shop', 'a"b'], [], [])
    """
    parts: list[str] = []
    at = 0
    while match := _NAME_PART.match(table, at):
        parts.append(match[1].replace('""', '"') if match[1] else match[2])
        at = match.end()
        if at == len(table):
            return parts
        if table[at] != ".":
            break
        at += 1
    return []


def _document(entry: Mapping[str, Any], file: str, number: int) -> Document:
    place = Place(file, f"document {number}")
    place.refuse_unknown(entry, DOCUMENT_KEYS)
    if "table" not in entry:
        raise place.wrong("table", "is missing", 'write table = "schema.name"')
    table = place.check_text("table", entry["table"])
    if not 1 <= len(table_parts(table)) <= 2:
        raise place.wrong("table", f"is {table!r}, which is no name or schema.name of a table")
    place = Place(file, f"document {table}")
    index = place.check_text("index", entry.get("index", default_index(table)))
    capture = ""
    if "capture" in entry:
        text = place.check_text("capture", entry["capture"])
        capture = place.check_choice("capture", text, CAPTURES)
    return Document(
        table=table,
        index=place.check_index("index", index),
        columns=place.check_texts("columns", entry.get("columns", [])),
        where=place.check_text("where", entry["where"]) if "where" in entry else "",
        capture=capture,
        mapping=_mapping(place, entry.get("mapping", {})),
    )


def _mapping(place: Place, value: object) -> Mapping[str, Mapping[str, object]]:
    if not isinstance(value, dict):
        raise place.wrong("mapping", f"must be a table, not {kind_of(value)}")
    for column, override in value.items():
        if not isinstance(override, dict) or not override:
            raise place.wrong(
                f"mapping.{column}",
                "must be a table with the mapping of the column",
                'for example {type = "keyword"}',
            )
    return {column: dict(override) for column, override in value.items()}
