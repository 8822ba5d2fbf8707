"""Whether an index holds what its table holds, told while both change.  Pure: no I/O, no clock.

Theory
------
Two stores that are read one after the other differ for that reason alone.  So a document that
differs from its row is a **suspect** first.  A suspect is settled by evidence gathered in a fixed
order, each part read after the one before:

1. the stored progress P of the pipeline.  It was saved after acknowledgement: whatever
   `P.cursor.done` counts was read in a snapshot that sees it, and is in the sink, or is a dead
   letter, before (1).
2. the dead letters of the suspects.
3. their documents, as the sink holds them now (not as a search sees them), and the index's uuid.
4. their rows, one or more snapshots of the source.
5. the entries of the change log for these keys that `P.cursor.done` does not count, with the
   snapshot, the identity and the pruned mark of that same statement.
6. that the connection which read the rows still stands, and that what it saw is durable (the
   page's gate): so (4) and (5) are two readings of one history, in this order.

Let C be the changes of a key that are visible in (5).  If (5) has no entry of the key, all of C are
in `done`, so for each there was a page, acknowledged before (1), whose snapshot sees it.
Snapshots of one primary are ordered: the latest of those pages sees all of C.  Whatever is read
from there to (5) sees C, and nothing else of this key: so the row of (4) is the row of that page,
and so is the document of (3), whether that page wrote it or a newer one.  Hence document (3) =
row (4), or a dead letter (2) was kept for it: **any other difference is real**.  If (5) has an
entry, nothing is said: try later.  What matters is that (1) comes first and (5) last, on the
connection of (4); and (2) before (3), for a letter goes when its document is written.

The proof needs the log, and a complete load under it.  It says nothing while P is not stored or
has a load or a sweep to do for the document; while source, index, definition or table are not
those of P, or the source went back; or if the log was pruned where `done` does not count.  All of
these are known from (1) to (5), and each ends by itself when the pipeline goes on.

Rules
-----
1. A difference counts only by the evidence above; equal contents count at once.
2. Contents are compared as bytes, then as JSON values whose numbers are texts: 1 is not 1.0.
3. A letter explains a difference if its version is not below that of the document.  A row that the
   source cannot build counts as missing unless there is a letter for it.
4. Repair writes what a fresh look-up reads, under the version of that look-up: whatever is newer
   wins, beside the pipeline too.
5. A version above that of the look-up is none that this source has given: nothing that it ever
   writes would replace that document.  Repair writes under that very version (equal ones are
   applied).  Should the row change again, the pipeline meets the version and resyncs.

| row        | document | log: not done | letter         | verdict   |
|------------|----------|---------------|----------------|-----------|
| equal      | equal    | any           | any            | EQUAL     |
| none       | none     | any           | any            | EQUAL     |
| different  | or none  | some, unknown | any            | UNSETTLED |
| any        | older    | none          | kept           | DEAD      |
| there      | none     | none          | none           | MISSING   |
| there      | there    | none          | none, or older | STALE     |
| none       | there    | none          | none, or older | GHOST     |
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from txid_sync import compare_json, continuity
from txid_sync.model import DeadLetter, Document, Held, LogView, Page, version_of
from txid_sync.progress.base import Progress
from txid_sync.sinks.bulk import actions_of


class Verdict(Enum):
    """What is known of one document."""

    EQUAL = "equal"
    UNSETTLED = "unsettled"
    DEAD = "dead"
    MISSING = "missing"
    STALE = "stale"
    GHOST = "ghosts"


DIFFERENCES = (Verdict.MISSING, Verdict.STALE, Verdict.GHOST)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was read about some suspects, in the order of the theory."""

    progress: Progress
    letters: Mapping[str, DeadLetter]
    held: Mapping[str, Held]
    page: Page
    view: LogView


def judge(ids: Sequence[str], evidence: Evidence) -> dict[str, Verdict]:
    """The verdict of each id; see the case table.

    Only if nothing hinders: see `hindrance` and `hindrance_of_reading`.
    """
    rows, dead = rows_of(evidence.page), {letter.id for letter in evidence.page.dead}
    unread = unread_of(ids, evidence.view)
    found = {}
    for id in ids:
        row, held = rows.get(id), evidence.held.get(id)
        if id not in dead and same(row, held):
            found[id] = Verdict.EQUAL
        elif id in unread:
            found[id] = Verdict.UNSETTLED
        elif explains(evidence.letters.get(id), held):
            found[id] = Verdict.DEAD
        else:
            found[id] = _kind(id in dead or row is not None, held)
    return found


def _kind(has_row: bool, held: Held | None) -> Verdict:
    if held is None:
        return Verdict.MISSING
    return Verdict.STALE if has_row else Verdict.GHOST


def explains(letter: DeadLetter | None, held: Held | None) -> bool:
    """Rule 3."""
    return letter is not None and (held is None or letter.version >= held.version)


def unread_of(ids: Collection[str], view: LogView) -> set[str]:
    """Those of these ids with changes that may not be in the sink yet."""
    logged = {entry.id for entry in view.entries}
    if not view.complete or None in logged:
        return set(ids)
    return {id for id in ids if id in logged}


def rows_of(page: Page) -> dict[str, bytes | None]:
    """The rows in a page: the bytes of each document, None where there is no row."""
    found: dict[str, bytes | None] = {}
    for action in actions_of(page.body):
        source = action.data.partition(b"\n")[2].rstrip(b"\n")
        found[action.id] = source if action.operation == "index" else None
    return found


def same(row: bytes | None, held: Held | None) -> bool:
    """Whether a document is what its row is (rule 2)."""
    if row is None or held is None:
        return row is None and held is None
    if row == held.source:
        return True
    try:
        return bool(compare_json.read(row) == compare_json.read(held.source))
    except (ValueError, RecursionError):
        return False


# -- when nothing can be settled -------------------------------------------------------------


def hindrance(progress: Progress | None, document: Document, index_uuid: str | None) -> str:
    """Why nothing can be settled of a document now, by progress and index; "" if nothing hinders.

    `index_uuid` "" means that there is no index, None that it was not looked at.
    """
    name = document.name
    entry = progress.documents.get(name) if progress else None
    if entry is None:
        return f"{name} was not synced yet"
    if entry.definition != continuity.definition(document):
        return f"{name} has another definition than the one that was synced"
    if entry.load or entry.sweep_below:
        return f"the {'load' if entry.load else 'sweep'} of {name} is not finished"
    if index_uuid == "":
        return f"index {name} is gone"
    if index_uuid is not None and entry.index_uuid != index_uuid:
        return f"{name} has another index than the one that was filled"
    return ""


def hindrance_of_reading(
    progress: Progress, document: Document, page: Page, view: LogView
) -> str:
    """Why nothing can be settled of a document, by what was read of the source; "" if nothing."""
    if reason := hindrance_of_page(progress, document, page):
        return reason
    if dict(view.identity) != dict(progress.identity):
        return "the source is another server, database or history than the one that was synced"
    cursor, clock = progress.cursor, view.snapshot.clock
    went_back = version_of(progress.epoch, clock) < progress.highest_version
    if cursor.ahead_of(view.snapshot) or went_back:
        return "the source went back behind what was synced"
    if view.pruned_txid is not None and cursor.overtaken_by(view.pruned_txid):
        return f"the log of {document.name} was pruned where it was not read yet"
    return ""


def hindrance_of_page(progress: Progress, document: Document, page: Page) -> str:
    """The same, by the table's fingerprint in a page."""
    entry = progress.documents[document.name]
    if page.fingerprint and page.fingerprint != entry.fingerprint:
        return f"the table of {document.name} changed (columns, triggers or partitions)"
    return ""


# -- repair ----------------------------------------------------------------------------------


def raised(page: Page, held: Mapping[str, Held]) -> Page:
    """The page of a repair: documents of a higher version are written under their own (rule 5)."""
    if all(h.version <= page.version for h in held.values()):
        return page
    lines = []
    for action in actions_of(page.body):
        old = held.get(action.id)
        if old is None or old.version <= page.version:
            lines.append(action.data)
            continue
        head = {"_id": action.id, "version": old.version, "version_type": "external_gte"}
        lines.append(json.dumps({action.operation: head}).encode() + b"\n")
        lines.append(action.data.partition(b"\n")[2])
    return replace(page, body=b"".join(lines))


def mended(page: Page, before: Mapping[str, Held], after: Mapping[str, Held]) -> set[str]:
    """Those documents of a repair that are now as read, or were written by somebody newer."""
    rows = rows_of(page)
    done = set()
    for id, row in rows.items():
        now = after.get(id)
        newer = now is not None and now.version > max(
            page.version, before[id].version if id in before else 0
        )
        if newer or same(row, now):
            done.add(id)
    return done
