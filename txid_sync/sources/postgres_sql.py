"""The statements of one document, composed once from the blocks of sql/queries.sql."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import sql

from txid_sync.model import Document
from txid_sync.share import WHOLE, Share
from txid_sync.sources.postgres_prepared import Prepared
from txid_sync.sources.postgres_session import QUERIES

SQL, Literal = sql.SQL, sql.Literal


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """A column of the key: its name, the type to cast texts to, whether its text needs no escape
    and is equal exactly where the value is, and the schema of its operators."""

    name: str
    type: str
    plain: bool
    operator_schema: str = "pg_catalog"


@dataclass(frozen=True, slots=True)
class Table:
    """A tracked table as the catalog shows it.

    `foreign_log`: another cluster wrote its log, or this one before its txids were lowered;
    `newlines`: its rows' JSON may hold raw line ends;
    `named_types`: its rows' JSON holds labels or fields of types that somebody made;
    `partitioned`: its rows are in other tables.
    """

    document: Document
    relation: str
    schema: str
    name: str
    tracked_id: int
    log: str
    key: tuple[KeyColumn, ...]
    capture: str = "statement"
    foreign_log: bool = False
    newlines: bool = True
    named_types: bool = False
    partitioned: bool = False


@dataclass(frozen=True, slots=True)
class Statements:
    """All that is run for one document; see the blocks of the same names in queries.sql."""

    table: Table
    page: Prepared
    page_ids: sql.Composable
    sample: sql.Composable
    lookup: Prepared
    cast_key: sql.Composable
    load: sql.Composable
    load_first: sql.Composable
    load_key: sql.Composable
    load_key_first: sql.Composable
    fingerprint: sql.Composable
    probe: sql.Composable
    log: sql.Composable
    key_texts: sql.Composable


def compose(table: Table, ordinal: int, role: str = "", share: Share = WHOLE) -> Statements:
    """Put the names of one table into the blocks; `role` is that of the server, see `identity`.
    Stream and load give the keys of `share`."""
    blocks = {**_blocks(table, role), **_shares(table.key, share)}
    own = {**blocks, **_plain(table.key, role)} if _is_plain(table.key) else blocks
    page_ids = _stream_keys("wanted", own) + _format("ids", own)
    page = _stream_keys("wanted", own) + _documents(table.document, own)
    lookup = _format("lookup_keys", blocks) + _documents(table.document, blocks)
    if _is_plain(table.key) and len(table.key) == 1 and not table.partitioned:
        page = _stream_keys("wanted_array", own) + _by_array("page", own)
        lookup = _format("lookup_array", own) + _by_array("lookup", own)
    tables = own["table"], own["log"]
    after = {**own, "after": blocks["key_after"]}
    first = {**own, "after": SQL("true")}
    cast_key = _format("cast_key", {**blocks, "key_parameters": blocks["key_scalars"]})
    return Statements(
        table=table,
        page=Prepared(f"txid_sync_page_{ordinal}", page, tables),
        page_ids=page_ids,
        sample=_format("sample", {**blocks, **_entries(table.key)}),
        lookup=Prepared(f"txid_sync_lookup_{ordinal}", lookup, tables),
        cast_key=cast_key,
        load=_format("load", after),
        load_first=_format("load", first),
        load_key=_format("load_key", after),
        load_key_first=_format("load_key", first),
        fingerprint=blocks["fingerprint"],
        probe=_format("probe_log", {**blocks, "ordinal": Literal(ordinal)}),
        log=_format("log_entries", {**blocks, **_entries(table.key)}),
        key_texts=_format("key_texts", {**blocks, **_entries(table.key), "cast_key": cast_key}),
    )


def _is_plain(key: Sequence[KeyColumn]) -> bool:
    return all(column.plain for column in key)


def _plain(key: Sequence[KeyColumn], role: str) -> dict[str, sql.Composable]:
    """Blocks for keys of plain types that come from the table or its log: equal keys have one
    image, and their text needs no escape.  (Ids given from outside may be written otherwise.)"""
    log_keys = [name(f"k{n}") for n in range(1, len(key) + 1)]
    quote = SQL('"')
    return {
        "image_match": SQL("true"),
        "id_json": SQL("id"),
        "id_fits": SQL("true"),
        "quote": quote,
        "now": _now(quote, role),
        "distinct": SQL(", ").join(log_keys),
        "wanted_columns": SQL(", ").join(log_keys),
        "wanted_id": _id([SQL("w.{}").format(k) for k in log_keys], key),
    }


def _shares(key: Sequence[KeyColumn], share: Share) -> dict[str, sql.Composable]:
    """Blocks that cut the keys of a log, and the rows of a table, down to a share."""
    log_id = _id([name(f"k{n}") for n in range(1, len(key) + 1)], key)
    row_id = _id([SQL("t.{}").format(name(column.name)) for column in key], key)
    if share.whole:
        return {"key_share": SQL("true"), "row_share": SQL("true")}
    def holds(id: sql.Composable) -> sql.Composable:
        text = id if _is_plain(key) else _format("escaped", {"text": id})
        numbers = {"of": Literal(share.of), "rest": Literal(share.number - 1)}
        return _format("share", {"hash": _format("hash", {"ascii": text}), **numbers})

    return {"key_share": holds(log_id), "row_share": holds(row_id)}


def _entries(key: Sequence[KeyColumn]) -> dict[str, sql.Composable]:
    """Blocks for the entries of a log: the id of a key, its columns unnested, and as texts."""
    log_keys = [name(f"k{n}") for n in range(1, len(key) + 1)]
    return {
        "log_id": SQL('{} collate "C"').format(_id(log_keys, key)),
        "sampled_keys": SQL(", ").join(
            [SQL(QUERIES["sampled_key"]).format(key=k) for k in log_keys]
        ),
        "unnested": SQL(", ").join([SQL("unnest({0}) as {0}").format(k) for k in log_keys]),
        "texts": SQL(", ").join([SQL("{}::text").format(k) for k in log_keys]),
    }


def identity(role: str = "") -> sql.Composable:
    """The block that tells which server answered: a primary, or one of the role "_standby"."""
    return SQL(QUERIES[f"identity{role}"])


def place(role: str = "") -> sql.Composable:
    """Version and place of now, and which server answered."""
    return SQL(QUERIES["place"]).format(identity=identity(role), **_now_fields(role))


def hashes() -> sql.Composable:
    """The server's hashes of some texts, for shares."""
    return SQL(QUERIES["hashes"]).format(hash=_format("hash", {"ascii": name("ascii")}))


def standby() -> sql.Composable:
    """What a standby is asked first."""
    return SQL(QUERIES["standby"]).format(identity=identity("_standby"))


def _now(quote: sql.Composable, role: str) -> sql.Composable:
    return SQL(QUERIES["now"]).format(quote=quote, **_now_fields(role))


def _now_fields(role: str) -> dict[str, sql.Composable]:
    return {"version": SQL(QUERIES[f"version{role}"]), "lsn": SQL(QUERIES[f"lsn{role}"])}


def probe(statements: Sequence[Statements], role: str = "") -> Prepared:
    """One statement over all logs: which of them have rows in the window."""
    logs = SQL(", ").join([s.probe for s in statements])
    ids = Literal([s.table.tracked_id for s in statements])
    query = SQL(QUERIES["probe"]).format(logs=logs, tracked_ids=ids, identity=identity(role))
    return Prepared("txid_sync_probe", query)


def poll() -> Prepared:
    """The snapshot's text and the identity."""
    return Prepared("txid_sync_poll", SQL(QUERIES["poll"]).format(identity=identity()))


def percent(text: str) -> str:
    """A name or an expression as it must stand in a statement with parameters."""
    return text.replace("%", "%%")


def name(*parts: str) -> sql.Identifier:
    """A quoted, possibly qualified identifier; a `%` in it is no parameter."""
    return sql.Identifier(*map(percent, parts))


def _format(block: str, blocks: dict[str, sql.Composable]) -> sql.Composable:
    return SQL(QUERIES[block]).format(**blocks)


def _stream_keys(wanted: str, blocks: dict[str, sql.Composable]) -> sql.Composable:
    return _format("stream_keys", {**blocks, "wanted": _format(wanted, blocks)})


def _documents(document: Document, blocks: dict[str, sql.Composable]) -> sql.Composable:
    row = _format("row_columns" if document.columns else "row", blocks)
    body = _format("body", {**blocks, "row": row})
    return _format("documents", {**blocks, "body": body})


def _by_array(kind: str, blocks: dict[str, sql.Composable]) -> sql.Composable:
    """For a key of one plain column of a table without partitions: each of these would be asked for
    every key.  `kind` is page or lookup."""
    wanted = {
        "wanted_ids": SQL(QUERIES[f"ids_of_{kind}"]),
        "wanted_count": SQL(QUERIES[f"count_of_{kind}"]),
    }
    return _format("documents", {**blocks, "body": _format("body_array", {**blocks, **wanted})})


def _blocks(table: Table, role: str) -> dict[str, sql.Composable]:
    document, key = table.document, table.key
    numbers = range(1, len(key) + 1)
    row = [SQL("t.{}").format(name(column.name)) for column in key]
    log_keys = [name(f"k{n}") for n in numbers]
    casts = [
        SQL("given.k{}::{} as k{}").format(SQL(str(n)), SQL(percent(column.type)), SQL(str(n)))
        for n, column in zip(numbers, key, strict=True)
    ]
    row_json, row_source = _row(document)
    if table.newlines:
        row_json = SQL(QUERIES["one_line"]).format(row_json=row_json)
    qualified = name(table.schema, table.name)
    return {
        "now": _now(SQL(""), role),
        "identity": identity(role),
        "table": qualified,
        "log": name("txid_sync", table.log),
        "log_keys": SQL(", ").join(log_keys),
        "entry_keys": SQL(", ").join([SQL(QUERIES["entry_key"]).format(key=k) for k in log_keys]),
        "wanted_columns": SQL('{} collate "C" as id, {}').format(
            _id(log_keys, key), SQL(", ").join(log_keys)
        ),
        "wanted_id": SQL("w.id"),
        "row_id": _id(row, key),
        "key_casts": SQL(", ").join(casts),
        "key_parameters": SQL(", ").join([SQL(f"%(k{n})s::text[]") for n in numbers]),
        "key_scalars": SQL(", ").join([SQL(f"%(k{n})s::text") for n in numbers]),
        "key_match": SQL(" and ").join(
            [SQL("{} = w.{}").format(r, k) for r, k in zip(row, log_keys, strict=True)]
        ),
        "key_after": _after(row, key),
        "order": SQL(", ").join(row),
        "id_fits": SQL("octet_length(id) <= 512"),
        "id_json": SQL("to_json(id)::text"),
        "quote": SQL(""),
        "image_match": SQL("{} = w.id").format(_id(row, key)),
        "distinct": SQL("id"),
        **_read_keys(row, key),
        "row_json": row_json,
        "row_source": row_source,
        "condition": SQL(percent(document.where) or "true"),
        "fingerprint": SQL(QUERIES["fingerprint"]).format(
            table_text=Literal(percent(quoted(table.schema, table.name))),
            type_names=SQL(QUERIES["type_names"] if table.named_types else "null"),
        ),
        "pruned": SQL(QUERIES["pruned"]).format(tracked_id=Literal(table.tracked_id)),
    }


def _read_keys(
    row: Sequence[sql.Composable], key: Sequence[KeyColumn]
) -> dict[str, sql.Composable]:
    """Blocks for the keys of rows that are read: as texts, the last one, the only column."""
    log_keys = [name(f"k{n}") for n in range(1, len(key) + 1)]
    texts = SQL(", ").join([SQL("{}::text").format(column) for column in row])
    return {
        "key_texts": SQL("array[{}]").format(texts),
        "last_key": SQL(", ").join([SQL(QUERIES["last_key"]).format(key=k) for k in log_keys]),
        "row_keys": SQL(", ").join(
            [SQL("{} as {}").format(r, k) for r, k in zip(row, log_keys, strict=True)]
        ),
        "key": name(key[0].name),
        "key_type": SQL(percent(key[0].type)),
    }


def quoted(schema: str, name: str) -> str:
    """A qualified name as the server's own parser reads it."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))


def _row(document: Document) -> tuple[sql.Composable, sql.Composable]:
    """How a row becomes JSON; `t.*` means the row even where a column is called t."""
    if not document.columns:
        return SQL("row_to_json(t.*)::text"), SQL("")
    columns = SQL(", ").join([SQL("t.{}").format(name(c)) for c in document.columns])
    return SQL("row_to_json(c.*)::text"), SQL("cross join lateral (select {}) c").format(columns)


def _id(columns: Sequence[sql.Composable], key: Sequence[KeyColumn]) -> sql.Composable:
    """The document id of a key, in SQL; the same as ids.encode."""
    parts: list[sql.Composable] = []
    for column, kind in zip(columns, key, strict=True):
        text = SQL("{}::text").format(column)
        escaped = SQL(r"replace(replace({}, '\', '\\'), ',', '\,')").format(text)
        parts.append(text if kind.plain else escaped)
    if len(parts) > 1:
        return SQL("({})").format(SQL(" || ',' || ").join(parts))
    return parts[0] if key[0].plain else SQL(r"coalesce(nullif({}, ''), '\0')").format(parts[0])


def _after(row: Sequence[sql.Composable], key: Sequence[KeyColumn]) -> sql.Composable:
    values = [SQL(f"%(k{n})s::{percent(column.type)}") for n, column in enumerate(key, 1)]
    return SQL("({}) > ({})").format(SQL(", ").join(row), SQL(", ").join(values))
