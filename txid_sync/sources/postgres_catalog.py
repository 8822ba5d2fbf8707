"""What the catalog says of the tracked tables: how they are captured, their keys and columns."""

from __future__ import annotations

from typing import Any

from psycopg2 import sql

from txid_sync.errors import PreconditionError
from txid_sync.model import Column, Document, Schema
from txid_sync.share import SAMPLES, Share, hash_of
from txid_sync.sources.postgres_prepared import array
from txid_sync.sources.postgres_session import QUERIES, Session
from txid_sync.sources.postgres_sql import KeyColumn, Statements, Table, hashes

# insert, update, delete, key, truncate; row, key, truncate
TRIGGERS = {"statement": 5, "row": 3}
_INIT = "run 'txid-sync init'"


def resolve(session: Session, document: Document) -> dict[str, Any]:
    """The table that the name in the configuration means, by the search path of the connection."""
    found = session.rows(QUERIES["resolve"], {"table": document.table})
    if not found:
        raise PreconditionError(
            f"table {document.table} of document {document.name} does not exist",
            "check the name; it is looked up like in a query, so quote mixed case",
        )
    return found[0]


def check_hashes(session: Session, share: Share) -> None:
    """Raise PreconditionError if the server would share the keys otherwise than the program."""
    if share.whole:
        return
    found = session.row(hashes(), {"texts": array(SAMPLES)})
    if found["hashes"] != [hash_of(text) for text in SAMPLES]:
        raise PreconditionError(
            "this server hashes texts otherwise than those that workers are known to work with",
            "run one worker (--workers 1), or several pipelines with tables of their own",
        )


def find_table(session: Session, document: Document, table: dict[str, Any]) -> Table:
    """The tracked table of a document; raises PreconditionError if something is missing.

    Names of types come out qualified only under an empty search path.
    """
    try:
        tracked = session.rows(QUERIES["tracked"], {"relation": table["relation"]})
    except PreconditionError as error:
        message = f"the schema txid_sync cannot be read: {error.message}"
        raise PreconditionError(message, _INIT) from None
    if not tracked:
        raise PreconditionError(f"table {document.table} is not tracked", _INIT)
    entry = tracked[0]
    columns = session.rows(
        QUERIES["key_columns"], {"relation": table["relation"], "key": entry["key"]}
    )
    if len(columns) != len(entry["key"]):
        raise PreconditionError(
            f"table {document.table} was tracked by a key that it no longer has: {entry['key']}",
            _INIT,
        )
    key = tuple(KeyColumn(c["name"], c["type"], c["plain"], c["operator_schema"]) for c in columns)
    kinds = session.rows(QUERIES["columns"], {"relation": table["relation"]})
    return Table(
        document, table["relation"], table["schema"], table["name"], entry["id"], entry["log"], key,
        capture=entry["capture"], foreign_log=entry["foreign_log"],
        newlines=any(kind["newlines"] for kind in kinds),
        named_types=any(kind["named"] for kind in kinds),
        partitioned=table["partitioned"],
    )  # fmt: skip


def check_triggers(session: Session, table: Table) -> None:
    """Raise PreconditionError unless all our triggers are there, fire always and see every row."""
    wanted = TRIGGERS[table.capture]
    key = [column.name for column in table.key]
    parameters = {"relation": table.relation, "wanted": wanted, "key": key}
    found = session.row(QUERIES["triggers"], parameters)
    if not found["keyed"]:
        raise PreconditionError(
            f"table {table.document.table} has no unique index on its key {', '.join(key)} "
            "any more",
            "make it again, or track the table by another key: txid_sync.track",
        )
    if found["heirs"]:
        raise PreconditionError(
            f"tables inherit from table {table.document.table}: their rows are seen in it, but"
            " their changes are not captured",
            "end the inheritance (alter table ... no inherit), or make it a partitioned table",
        )
    if found["missing"] or found["weak"]:
        raise PreconditionError(
            f"changes of table {table.document.table} are not captured: of its triggers "
            f"{found['missing']} are missing, {found['weak']} are disabled or not ALWAYS",
            _INIT,
        )


def check_condition(session: Session, statements: Statements) -> None:
    """Raise PreconditionError unless PostgreSQL takes the condition of the document."""
    document = statements.table.document
    if not document.where:
        return
    try:
        session.rows(sql.SQL("explain ") + statements.load_first, {"epoch": 1, "limit": 1})
    except PreconditionError as error:
        raise PreconditionError(
            f"document {document.name}: {error.message}",
            "correct 'where' of this document in the configuration",
        ) from None


def schema_of(session: Session, statements: Statements) -> Schema:
    """Columns, key and fingerprint of a document's table."""
    table = statements.table
    columns = tuple(
        Column(c["name"], c["type"], c["kind"], c["array"])
        for c in session.rows(QUERIES["columns"], {"relation": table.relation})
    )
    chosen = table.document.columns
    unknown = set(chosen) - {c.name for c in columns}
    if unknown:
        raise PreconditionError(
            f"table {table.document.table} has no column {sorted(unknown)[0]!r}",
            "correct 'columns' in the configuration",
        )
    fingerprint = session.row(
        sql.SQL("select {} as fingerprint").format(statements.fingerprint), {}
    )["fingerprint"]
    if fingerprint is None:
        raise PreconditionError(f"table {table.document.table} does not exist any more", _INIT)
    visible = tuple(c for c in columns if not chosen or c.name in chosen)
    return Schema(visible, tuple(k.name for k in table.key), table.relation, fingerprint)
