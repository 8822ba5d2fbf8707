"""`txid-sync init`: install the change logs and track the tables."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

import click
from psycopg2.extensions import QuotedString

from txid_sync import failpoints, schema, ui
from txid_sync.commands.options import configured, option, require_documents
from txid_sync.database import connect
from txid_sync.model import Document
from txid_sync.settings import Config
from txid_sync.sql import text

# The schema in a table's name; either may be quoted.
_SCHEMA_OF = re.compile(r'("(?:[^"]|"")+"|[^".]+)\.')


@click.command("init")
@option(
    "--dry-run", envvar="TXID_SYNC_DRY_RUN", is_flag=True,
    help="Print the SQL, fit for psql, and run none of it.",
)
@option(
    "--reader", envvar="TXID_SYNC_READER", metavar="ROLE",
    help="Let this role read the change logs: the one that runs will connect as.",
)
@configured
def command(config: Config, dry_run: bool, reader: str | None) -> None:
    """Install the change logs and track the tables of the configuration.

    May be repeated: what is there already is left alone.  Connect as a superuser or as the owner
    of the tables; runs need no such rights.  Prints the GRANT statements that the reader lacks.
    """
    require_documents(config)
    if dry_run:
        for line in _script(config, reader):
            ui.data(line)
        return
    failpoint = failpoints.of_process(os.environ)
    with contextlib.closing(connect(config.source.dsn)) as connection:
        schema.install(connection)
        failpoint("schema-installed")
        for document in config.documents:
            log = schema.track(connection, document.table, document.capture or None)
            ui.message(f"{document.table} is tracked: txid_sync.{log}")
            failpoint("table-tracked")
        if reader:
            for statement in schema.grant_reader(connection, reader):
                ui.data(f"{statement};")
            failpoint("reader-granted")


def _script(config: Config, reader: str | None) -> Iterator[str]:
    """What init runs, in the same transactions."""
    yield "begin;"
    for file in schema.INSTALL_FILES:
        yield text(file)
    yield "commit;"
    for document in config.documents:
        yield _track(document)
    if reader:
        yield f"select txid_sync.grant_reader({_literal(reader)});"
        role = _identifier(reader)
        for document in config.documents:
            if schema_name := _SCHEMA_OF.match(document.table):
                yield f"grant usage on schema {schema_name[1]} to {role};"
            yield f"grant select on table {document.table} to {role};"


def _track(document: Document) -> str:
    capture = _literal(document.capture) if document.capture else "null"
    return f"select txid_sync.track({_literal(document.table)}::regclass, {capture}, null);"


def _identifier(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _literal(value: str) -> str:
    quoted = QuotedString(value)
    quoted.encoding = "utf-8"
    return quoted.getquoted().decode()
