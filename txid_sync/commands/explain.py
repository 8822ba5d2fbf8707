"""`txid-sync explain`: everything about one key, on both sides and in between."""

from __future__ import annotations

import click

from txid_sync import ids, ui
from txid_sync.commands.options import configured, option, require_documents
from txid_sync.config_place import Place
from txid_sync.errors import ExitCode, UsageError
from txid_sync.explain import Entry, Explanation, Found, explain
from txid_sync.model import Document, clock_of, epoch_of
from txid_sync.settings import Config
from txid_sync.shares import stored_of
from txid_sync.snapshot import Snapshot
from txid_sync.wiring import Assembly, assemble

LOG_ROWS = 200_000
SHOWN = 20
_NOTHING_DONE = Snapshot.of(1)


@click.command("explain")
@click.argument("table")
@click.argument("key", nargs=-1, required=True, metavar="KEY...")
@option("--json", "as_json", envvar="TXID_SYNC_JSON", is_flag=True, help="Print JSON.")
@configured
def command(config: Config, table: str, key: tuple[str, ...], as_json: bool) -> None:
    """Tell all about one key on both sides, and what comes next.

    That is: the row, the document, both versions, what the log still holds, the dead letter.
    TABLE is the table or the index as in the configuration, KEY the values of its key, in order.
    Ends with exit code 1 if row and document differ, for whatever reason.
    """
    require_documents(config)
    if config.sink is None or config.sink.type == "discard":
        raise UsageError("there is nothing to explain", "the configuration needs a [sink]")
    known = [name for d in config.documents for name in (d.table, d.name)]
    Place("explain").refuse_unknown([table], list(dict.fromkeys(known)), "table or index")
    chosen = [document for document in config.documents if table in (document.table, document.name)]
    with assemble(config) as assembly:
        assembly.source.connect()
        assembly.sink.connect()
        told = [explain(document, _look(assembly, document, key)) for document in chosen]
    if as_json:
        ui.data_json([explanation.as_json() for explanation in told])
    else:
        for explanation in told:
            for line in _lines(explanation):
                ui.data(line)
    equal = all(explanation.equal for explanation in told)
    click.get_current_context().exit(ExitCode.OK if equal else ExitCode.NOT_EQUAL)


def _look(assembly: Assembly, document: Document, texts: tuple[str, ...]) -> Found:
    """Read everything, in the order of verify.py."""
    source, sink, name = assembly.source, assembly.sink, document.name
    id = ids.encode(source.key_of(name, texts))
    _, progress = stored_of(assembly.store, assembly.config.pipeline.name, id)
    letters = sink.letters(name, [id])
    uuid = sink.adopt([document]).get(name, "")
    held = sink.fetch(name, [id]) if uuid else {}
    page = source.lookup(name, [id], progress.epoch if progress else 1)
    done = progress.cursor.done if progress else _NOTHING_DONE
    view = source.log(name, [id], done, LOG_ROWS)
    kept = source.log(name, [id], _NOTHING_DONE, LOG_ROWS)
    return Found(id, progress, letters.get(id), held.get(id), uuid, page, view, kept)


def _lines(told: Explanation) -> list[str]:
    row = "there is a row" if told.row_exists else "there is no row"
    if told.row_refused:
        row += f", which cannot be built: {told.row_refused}"
    held = "there is no document"
    if told.document_version is not None:
        held = f"there is a document of version {_version(told.document_version)}"
    lines = [
        f"{told.table} {told.id!r}, index {told.document}",
        f"  row       {row}; it would be written as {_version(told.source_version)}",
        f"  document  {held}; contents are {'equal' if told.equal else 'NOT EQUAL'}",
    ]
    lines += [f"  log       {_entry(entry)}" for entry in told.entries[-SHOWN:]]
    if not told.entries:
        lines.append("  log       nothing of this key is kept")
    if not told.entries_complete:
        lines.append(f"  log       only the oldest {LOG_ROWS:,} log rows were looked at")
    if told.dead_letter:
        lines.append(f"  refused   {told.dead_letter}")
    return [*lines, f"  next      {told.next}"]


def _entry(entry: Entry) -> str:
    what = "emptied the table" if entry.truncation else "changed it"
    return f"transaction {entry.txid} {what}: {entry.state}"


def _version(version: int) -> str:
    return f"{version} (epoch {epoch_of(version)}, clock {clock_of(version)})"
