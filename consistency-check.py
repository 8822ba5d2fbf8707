#!/usr/bin/env python3
"""Does Elasticsearch hold exactly what PostgreSQL holds?  Exit code 0 only if it does.

Compares all rows and all documents, by key and content.  Meaningful when nothing is written and
the syncer has caught up; --within-seconds waits for that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

from txid_sync.scripts import find_dependencies

find_dependencies()

import click

from txid_sync import ui
from txid_sync.cli import Script
from txid_sync.commands.options import option, require_documents
from txid_sync.compare import Comparison, Difference, Differences, compare
from txid_sync.config import Given, parse, read, read_secret
from txid_sync.dsn import check_dsn
from txid_sync.errors import ExitCode, UsageError
from txid_sync.settings import Config
from txid_sync.wiring import elasticsearch_settings

TABLES = ["items", "codes", "stock", "notes", "measurements", "orders", "order_lines"]
SERVERS = {"POSTGRES_CONFIG": "dbname=sync-test", "ELASTICSEARCH_URL": "http://localhost:9200"}
PAUSE_SECONDS = 0.5


def configuration(
    path: str | None, tables: Sequence[str], indices: Sequence[str], prefix: str
) -> Config:
    """Where both sides are and what to compare."""
    environment = {**SERVERS, **os.environ}
    if path is not None:
        if tables or indices:
            raise UsageError("--config and --table exclude each other")
        config = read(path, environment)
        require_documents(config)
        if config.sink is None or config.sink.type != "elasticsearch":
            raise UsageError(f"{path}: there is no Elasticsearch in [sink]")
        return config
    if indices and len(indices) != len(tables):
        raise UsageError(
            f"{len(tables)} times --table, but {len(indices)} times --index",
            "give one --index for each --table, in the same order, or none",
        )
    pairs = zip(tables, indices, strict=True) if indices else ((t, None) for t in tables or TABLES)
    documents = [{"table": t} if i is None else {"table": t, "index": i} for t, i in pairs]
    given = Given({"sink": {}, "document": documents}, environment, {}, "consistency-check.py")
    config = parse(given, read_secret)
    named = tuple(replace(d, index=prefix + d.index) for d in config.documents)
    return replace(config, documents=named)


def check(config: Config, within_seconds: float) -> list[Comparison]:
    """Compare, again and again until both sides are equal or the time is over."""
    assert config.sink is not None
    settings, dsn = elasticsearch_settings(config.sink), check_dsn(config.source.dsn)
    deadline = time.monotonic() + within_seconds
    while True:
        results = [*compare(dsn, settings, config.documents, config.sink.dead_letter_index)]
        left = deadline - time.monotonic()
        if all(result.equal for result in results) or left <= 0:
            return results
        time.sleep(min(PAUSE_SECONDS, left))


def show(results: Sequence[Comparison]) -> None:
    """The table of all results, then the first keys of every difference."""
    names = ("table", "index", "rows", "documents", "missing", "stale", "ghosts", "dead", "")
    lines = [
        (
            r.table, r.document, f"{r.rows:,}", f"{r.documents:,}", f"{r.missing.count:,}",
            f"{r.stale.count:,}", f"{r.ghosts.count:,}", f"{r.dead_letters:,}",
            "equal" if r.equal else "NOT EQUAL" if r.index_exists else "NO SUCH INDEX",
        )
        for r in results
    ]  # fmt: skip
    for line in ui.columns([names, *lines]):
        ui.data(line)
    for r in results:
        show_differences(f"{r.table}: missing in the index", r.missing)
        show_differences(f"{r.table}: stale, with the fields that differ", r.stale)
        show_differences(f"{r.table}: ghosts, in the index only", r.ghosts)
        dead = tuple(Difference(letter) for letter in r.dead_ids)
        show_differences(f"{r.table}: refused by the sink", Differences(r.dead_letters, dead))


def show_differences(title: str, differences: Differences) -> None:
    """The first keys of one kind, each on its line."""
    if differences.count:
        ui.data(f"{title} ({differences.count:,}):")
        for difference in differences.first:
            note = f"  ({difference.note})" if difference.note else ""
            ui.data(f"  {difference.id!r}{note}")
        if differences.count > len(differences.first):
            ui.data(f"  ... and {differences.count - len(differences.first):,} more")


@click.command("consistency-check.py", cls=Script, context_settings={"max_content_width": 100})
@click.option("--table", "tables", multiple=True, help="A table; repeat it.  [default: the demo's]")
@click.option("--index", "indices", multiple=True, help="Its index.  [default: the table's name]")
@click.option("-c", "--config", "path", metavar="FILE", help="The tables of a txid-sync.toml.")
@option(
    "--index-prefix", envvar="SYNC_INDEX_PREFIX", default="", help="Goes before the index's name."
)
@click.option(
    "--within-seconds", type=click.FloatRange(min=0), default=0.0, show_default=True,
    help="Compare again until equal, for so long at most.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def main(
    tables: tuple[str, ...],
    indices: tuple[str, ...],
    path: str | None,
    index_prefix: str,
    within_seconds: float,
    as_json: bool,
) -> None:
    """Compare all rows with all documents; exit 0 if they are equal, 1 if not.

    POSTGRES_CONFIG is a libpq connection string (default: dbname=sync-test), ELASTICSEARCH_URL the
    sink (default: http://localhost:9200).  Other exit codes: docs/exit-codes.md.
    """
    config = configuration(path, tables, indices, index_prefix)
    results = check(config, within_seconds)
    equal = all(result.equal for result in results)
    if as_json:
        found = [{**asdict(result), "equal": result.equal} for result in results]
        ui.data_json({"equal": equal, "documents": found})
    else:
        show(results)
        ui.message("equal" if equal else "NOT EQUAL", "bold green" if equal else "bold red")
    click.get_current_context().exit(ExitCode.OK if equal else ExitCode.NOT_EQUAL)


if __name__ == "__main__":
    main()
