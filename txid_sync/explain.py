"""One key under the glass: row, document, log, dead letter, and what will happen next.  Pure.

| what is found, in this order                    | what comes next                              |
|-------------------------------------------------|----------------------------------------------|
| something hinders (see verify.py)               | the next run answers it: load and sweep      |
| the log holds changes that are not done         | the pipeline writes the row as it is then    |
| a letter explains the difference                | nothing, until the row or the mapping change |
| contents equal, version not above the source's  | nothing: both sides agree                    |
| contents equal, version above                   | at the next change the version is met        |
| contents differ                                 | nothing: a repair is needed                  |
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from txid_sync import verify
from txid_sync.model import DeadLetter, Document, Held, LogView, Page
from txid_sync.progress.base import Progress


@dataclass(frozen=True, slots=True)
class Found:
    """All that was read about one document, in the order of verify.py.

    `kept` is the whole log as far as it was looked at, `view` what progress does not count.
    """

    id: str
    progress: Progress | None
    letter: DeadLetter | None
    held: Held | None
    index_uuid: str
    page: Page
    view: LogView
    kept: LogView


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction that the log still shows to have changed the row.

    `state`: done (the pipeline counts it), to be read, or unknown (nothing is stored).
    """

    txid: int
    state: str
    truncation: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of one document.

    `source_version` is the version under which the row would be written now; `document_version`
    that of the document (None: there is none).  `equal` tells whether contents are equal.
    `entries_complete`: the whole log was looked through.
    """

    document: str
    table: str
    id: str
    row_exists: bool
    row_refused: str
    document_exists: bool
    document_version: int | None
    source_version: int
    equal: bool
    entries: tuple[Entry, ...]
    entries_complete: bool
    dead_letter: str
    next: str

    def as_json(self) -> dict[str, Any]:
        """Plain values; names may be added later, none is taken away."""
        return asdict(self)


def explain(document: Document, found: Found) -> Explanation:
    """Put together what was found."""
    row = verify.rows_of(found.page).get(found.id)
    refused = next((d.reason for d in found.page.dead if d.id == found.id), "")
    equal = not refused and verify.same(row, found.held)
    told = Explanation(
        document=document.name,
        table=document.table,
        id=found.id,
        row_exists=row is not None or bool(refused),
        row_refused=refused,
        document_exists=found.held is not None,
        document_version=found.held.version if found.held else None,
        source_version=found.page.version,
        equal=equal,
        entries=_entries(found),
        entries_complete=found.kept.complete and found.view.complete,
        dead_letter=found.letter.reason if found.letter else "",
        next="",
    )
    return replace(told, next=_next(document, found, equal))


def _entries(found: Found) -> tuple[Entry, ...]:
    done = found.progress.cursor.done if found.progress else None
    entries = {}
    for entry in (*found.kept.entries, *found.view.entries):
        state = "unknown" if done is None else "done" if done.finished(entry.txid) else "to be read"
        entries[entry.txid, entry.id is None] = Entry(entry.txid, state, entry.id is None)
    return tuple(entries[key] for key in sorted(entries))


def _next(document: Document, found: Found, equal: bool) -> str:
    progress = found.progress
    reason = verify.hindrance(progress, document, found.index_uuid)
    if progress is None or reason:
        return f"{reason}: 'txid-sync run' writes the row when it gets there"
    if reason := verify.hindrance_of_reading(progress, document, found.page, found.view):
        return f"{reason}: 'txid-sync run' will notice and write the whole document set again"
    if verify.unread_of([found.id], found.view):
        count = len({entry.txid for entry in found.view.entries})
        some = f"{count} transactions" if found.view.complete else "changes"
        return f"the pipeline has not written {some} yet: it will write the row as it is then"
    return _settled(found, equal)


def _settled(found: Found, equal: bool) -> str:
    """What comes next when every change was written."""
    if not equal and verify.explains(found.letter, found.held):
        return "nothing: it was refused; mend the row or the mapping, its next change is sent again"
    if not equal:
        return "nothing by itself: every change was written, and still they differ; verify --repair"
    if found.held is not None and found.held.version > found.page.version:
        return "nothing now; at its next change the pipeline meets this version and resyncs"
    return "nothing: both sides agree"
