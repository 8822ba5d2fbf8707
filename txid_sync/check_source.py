"""The points of `check` that concern PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg2
from psycopg2 import sql

from txid_sync.check import Point, State, failed, guarded, judge, ok, warning
from txid_sync.database import connect
from txid_sync.errors import PreconditionError
from txid_sync.model import Document
from txid_sync.schema import VERSION
from txid_sync.sources.postgres_errors import translate
from txid_sync.sql import load

QUERIES = load("check.sql")
MINIMUM_VERSION = 130000
OLD_SECONDS = 3600
LARGE_LOG_BYTES = 2**30

_INIT = "txid-sync init"


class Database:
    """A connection of its own, for questions only."""

    def __init__(self, dsn: str) -> None:
        self.connection = connect(dsn)

    def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of a block of check.sql, by column name; raises TxidSyncError."""
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(QUERIES[query], parameters or {})
                names = [column.name for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except psycopg2.Error as error:
            raise translate(error, f"ask for {query.replace('_', ' ')}") from None

    def row(self, query: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The only row of a block."""
        return self.rows(query, parameters)[0]


def source_points(dsn: str, documents: Sequence[Document]) -> Iterator[Point]:
    """Every point of the source."""
    return guarded("source", _source_points(dsn, documents))


def _source_points(dsn: str, documents: Sequence[Document]) -> Iterator[Point]:
    database = Database(dsn)
    with contextlib.closing(database.connection):
        server = database.row("server")
        yield ok("source", f"connected as {server['role']}")
        yield from _server(server)
        yield from _transactions(database)
        schema = list(_schema(database, server["in_recovery"]))
        yield from schema
        installed = all(point.state != State.FAILED for point in schema)
        relations = []
        for document in documents:
            try:
                table = database.rows("table", _table_parameters(document))
            except PreconditionError as error:  # no USAGE on its schema: its name means nothing
                yield failed(
                    f"document {document.name}: table", error.message,
                    f"grant usage on the schema of {document.table} to {server['role']}",
                )  # fmt: skip
                continue
            relations += [row["relation"] for row in table]
            points = _document(database, server, document, table, installed)
            yield from guarded(f"document {document.name}", points)
        if installed:
            yield from _unconfigured(database, relations)


def _table_parameters(document: Document) -> dict[str, Any]:
    return {"table": document.table, "columns": list(document.columns)}


def _server(server: Mapping[str, Any]) -> Iterator[Point]:
    text = f"PostgreSQL {server['version_text']}"
    yield judge(
        "version", server["version"] >= MINIMUM_VERSION, text, text, "use PostgreSQL 13 or later"
    )
    yield from _recovery(server)
    yield judge(
        "role", not server["superuser"], "no superuser",
        f"{server['role']} is a superuser; casts to json that others own would run as it",
        "create role txid_sync_reader login; txid-sync init --reader txid_sync_reader",
    )  # fmt: skip


def _recovery(server: Mapping[str, Any]) -> Iterator[Point]:
    """A standby works; somebody should know what it costs."""
    if not server["in_recovery"]:
        yield ok("primary", "not in recovery")
        return
    yield warning(
        "primary", "the server is a standby, where no marker can be written: its promotion,"
        " or a move to the primary, costs a load and a sweep; only one pipeline may write to these"
        " indices",
        "docs/high-availability.md; for the primary: target_session_attrs=read-write",
    )  # fmt: skip
    if not server["sees_receiver"]:
        yield warning(
            "timeline", f"{server['role']} may not see the WAL receiver: each restart of the"
            " standby costs a load and a sweep",
            f"grant pg_read_all_stats to {server['role']}",
        )  # fmt: skip
    if not server["feedback"]:
        yield warning(
            "hot_standby_feedback", "off: vacuum on the primary may cancel pages, which are"
            " then halved and read again", "set it on the standby, if that happens often",
        )  # fmt: skip


def _transactions(database: Database) -> Iterator[Point]:
    for point, query in (
        ("oldest transaction", "oldest_transaction"),
        ("prepared transactions", "oldest_prepared"),
    ):
        found = database.rows(query)
        if not found:
            yield ok(point, "none")
            continue
        who = f"pid {found[0]['pid']}" if "pid" in found[0] else f"{found[0]['gid']!r}"
        seconds = found[0]["seconds"] or 0
        detail = f"open for {seconds} s: {who}"
        fix = "its changes wait until it ends: end it, if it was forgotten"
        yield warning(point, detail, fix) if seconds >= OLD_SECONDS else ok(point, detail)


def _schema(database: Database, in_recovery: bool) -> Iterator[Point]:
    found = database.row("schema")
    yield judge(
        "schema", found["installed"], "txid_sync is installed", "txid_sync is not installed", _INIT
    )
    if not found["installed"]:
        return
    yield judge(
        "schema rights", found["usable"] and found["readable"] and found["may_prune"],
        "USAGE on the schema, SELECT on its tables, EXECUTE of upkeep",
        "the role may not read the logs of the schema txid_sync and do their upkeep",
        "txid-sync init --reader ROLE, as the owner",
    )  # fmt: skip
    if not in_recovery:
        yield ok("marker", "may be written") if found["may_mark"] else warning(
            "marker", "the role may not write it: every switchover costs a load and a sweep",
            "txid-sync init --reader ROLE, as the owner",
        )  # fmt: skip
    if found["usable"] and found["readable"]:
        version = database.row("installed")["version"]
        yield judge(
            "schema version", version == VERSION, str(version),
            f"{version}, this program knows {VERSION}", _INIT,
        )  # fmt: skip


def _document(
    database: Database,
    server: Mapping[str, Any],
    document: Document,
    found: Sequence[Mapping[str, Any]],
    installed: bool,
) -> Iterator[Point]:
    name = f"document {document.name}"
    if not found:
        yield failed(
            f"{name}: table", f"{document.table} does not exist", "correct [[document]] table"
        )
        return
    table = found[0]
    yield ok(f"{name}: table", table["qualified"])
    unknown = sorted(set(document.columns) - set(table["columns"]))
    if unknown:
        yield failed(
            f"{name}: columns", f"there is no column {unknown[0]}", "correct [[document]] columns"
        )
    readable = table["readable"] and table["reachable"]
    yield judge(
        f"{name}: rights", readable, "SELECT", f"no SELECT on {table['qualified']}",
        f"grant usage on schema {table['schema']} to {server['role']}; "
        f"grant select on {table['qualified']} to {server['role']}",
    )  # fmt: skip
    yield _row_security(name, server, table)
    if document.where and readable and not server["in_recovery"]:
        yield _condition(database, name, document.where, table["qualified"])
    if installed:
        yield from _capture(database, name, table["relation"], table["qualified"])


def _row_security(name: str, server: Mapping[str, Any], table: Mapping[str, Any]) -> Point:
    filtered = table["row_security"] and not (
        table["exempt"] or server["superuser"] or server["bypasses_rls"]
    )
    return judge(
        f"{name}: row security", not filtered, "no row is hidden from the role",
        f"policies of {table['qualified']} hide rows, which would look deleted",
        f"alter role {server['role']} bypassrls",
    )  # fmt: skip


def _condition(database: Database, name: str, condition: str, qualified: str) -> Point:
    point = f"{name}: where"
    if not database.row("temporary")["allowed"]:
        return warning(
            point, "not looked at: the role may not make temporary tables",
            "make sure that it calls only immutable functions",
        )  # fmt: skip
    index = QUERIES["immutable_condition"].replace("{condition}", condition)
    try:
        with database.connection.cursor() as cursor:
            cursor.execute("begin")
            cursor.execute(QUERIES["copy_table"].replace("{table}", qualified))
            cursor.execute(index)
    except psycopg2.Error as error:
        return failed(point, error.diag.message_primary or str(error), "correct [[document]] where")
    finally:
        with database.connection.cursor() as cursor:
            cursor.execute("rollback")
    return ok(point, "immutable")


def _capture(database: Database, name: str, relation: str, qualified: str) -> Iterator[Point]:
    found = database.rows("tracked", {"relation": relation})
    yield judge(
        f"{name}: tracked", bool(found), "yes", f"{qualified} is not tracked", _INIT
    )
    if not found:
        return
    tracked = found[0]
    yield judge(
        f"{name}: log rights", bool(tracked["readable"]), "SELECT",
        f"no SELECT on {tracked['qualified'] or tracked['log']}",
        "txid-sync init --reader ROLE, as the owner",
    )  # fmt: skip
    key = {"relation": relation, "key": tracked["key"]}
    yield judge(
        f"{name}: key", database.row("key", key)["found"], ", ".join(tracked["key"]),
        f"no unique index on {', '.join(tracked['key'])} any more",
        f"select txid_sync.untrack('{qualified}'); txid-sync init",
    )  # fmt: skip
    yield _triggers(name, database.row("triggers", {"relation": relation}))
    yield judge(
        f"{name}: log index", database.row("log_index", {"log": tracked["log"]})["found"],
        "on (txid, seq)", f"no valid index on (txid, seq) of txid_sync.{tracked['log']}",
        f"create index on txid_sync.{tracked['log']} (txid, seq)",
    )  # fmt: skip
    if not tracked["ours"]:
        yield warning(
            f"{name}: log", "was written by another cluster (a restored copy?)",
            f"select txid_sync.untrack('{qualified}'); txid-sync init",
        )  # fmt: skip
    if tracked["bytes"] is not None:
        detail = f"{tracked['bytes'] / 2**20:.1f} MiB"
        large = tracked["bytes"] > LARGE_LOG_BYTES
        fix = "txid-sync prune; docs/capture.md, upkeep of the log"
        yield (warning if large else ok)(f"{name}: log size", detail, *([fix] if large else []))


def _triggers(name: str, found: Mapping[str, Any]) -> Point:
    wanted = ["inserts", "updates", "deletes", "truncates", "key_changes"]
    missing = [event.replace("_", " ") for event in wanted if not found[event]]
    detail = f"no trigger sees {', '.join(missing)}" if missing else ""
    if found["blind"]:
        detail = detail or f"no trigger sees truncates of {', '.join(found['blind'])}"
    if found["weak"]:
        detail = detail or f"not ENABLE ALWAYS: {', '.join(found['weak'])}"
    return judge(f"{name}: triggers", not detail, "complete, ENABLE ALWAYS", detail, _INIT)


def _unconfigured(database: Database, relations: Sequence[str]) -> Iterator[Point]:
    for row in database.rows("unconfigured", {"relations": list(relations)}):
        quoted = sql.Literal(row["name"]).as_string(database.connection)
        yield warning(
            f"table {row['name']}", "is tracked, but no [[document]] uses it",
            f"select txid_sync.untrack({quoted})",
        )  # fmt: skip
