"""Whether progress still fits source and sink, and what to do where it does not.  Pure.

Rules
-----
1. A resync is always load + sweep: every row is written again under a version of its own clock,
   then every document that was not written is looked up.  It runs beside the stream.
2. A new epoch is taken when the clock can not order what comes against what is there: another
   server, a source that went back, another index, another definition of the same document.
3. A table whose catalog entry changed is written again in the same epoch: the change itself
   ended a transaction, so its clock is new.
4. A changed set of documents discards the open window; its rows are read again.
5. Another timeline of the same database is the same history as far as progress speaks of it, if
   the marker that was written last is in it, and nothing was counted, sent or repaired since:
   whatever comes before the marker in the write-ahead log is then in it too (`proved`).  A new
   cursor comes after the marker.

| what differs from progress            | epoch | cursor         | load + sweep      |
|---------------------------------------|-------|----------------|-------------------|
| no progress: first start              | free  | new            | all               |
| identity, source went back, conflict  | +1    | new            | all               |
| timeline only, the marker is there    | same  | same           | none              |
| log pruned past the cursor            | +1    | new            | all               |
| index uuid                            | +1    | window dropped | that document     |
| definition of a document              | +1    | window dropped | that document     |
| table or its catalog fingerprint      | same  | window dropped | that document     |
| a document came, with a fresh index   | same  | window dropped | that document     |
| a document came, its index was there  | +1    | window dropped | that document     |
| a document came, to several workers   | +1    | window dropped | that document     |
| a document went                       | same  | window dropped | none              |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from txid_sync.cursor import Cursor
from txid_sync.errors import PreconditionError
from txid_sync.model import MAX_EPOCH, Document, Schema, version_of
from txid_sync.progress.base import DocumentProgress, Progress


@dataclass(frozen=True, slots=True)
class Found:
    """What source and sink say of themselves now.

    `indices` gives each document's index uuid; `fresh` names those that were made just now, so
    are empty and need no sweep.
    """

    identity: Mapping[str, str]
    clock: int
    schemas: Mapping[str, Schema]
    indices: Mapping[str, str]
    fresh: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between progress and what was found."""

    document: str
    what: str
    new_epoch: bool


def definition(document: Document) -> str:
    """A hash of everything in the configuration that changes a document's bytes."""
    value = [document.table, document.index, list(document.columns), document.where]
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def proved(
    progress: Progress, identity: Mapping[str, str], nonce: str, nothing_sent: bool
) -> bool:
    """Rule 5; `nonce` is the marker in the history of `identity`, `nothing_sent` since it was
    written is known of every process."""
    marker, known = progress.marker, {**progress.identity, "timeline": ""}
    return (
        marker is not None
        and {**identity, "timeline": ""} == known
        and nonce == marker.nonce
        and marker.version == progress.highest_version
        and nothing_sent
    )


def changes(progress: Progress, documents: Sequence[Document], found: Found) -> list[Change]:
    """Every document that must be written again, and why; at most one change each."""
    result = []
    for document in documents:
        name = document.name
        known = progress.documents.get(name)
        if known is None:
            alone = progress.workers == 1  # another worker may have filled the index since
            result.append(Change(name, "is new", not (alone and name in found.fresh)))
        elif known.definition != definition(document):
            result.append(Change(name, "has another definition", True))
        elif known.index_uuid != found.indices[name]:
            result.append(Change(name, "has another index than the one that was filled", True))
        elif known.relation != found.schemas[name].relation:
            result.append(Change(name, "has another table of the same name", False))
        elif known.fingerprint != found.schemas[name].fingerprint:
            result.append(Change(name, "has a table whose columns, triggers or partitions changed",
                                 False))  # fmt: skip
    return result


def first(
    cursor: Cursor, documents: Sequence[Document], found: Found, load: bool, epoch: int = 1
) -> Progress:
    """Progress of a pipeline that never ran; `load` False starts from now."""
    progress = Progress(cursor, dict(found.identity), epoch)
    return started(progress, documents, [d.name for d in documents], found, load)


def started(
    progress: Progress,
    documents: Sequence[Document],
    names: Collection[str],
    found: Found,
    load: bool = True,
) -> Progress:
    """Progress with a load (then a sweep) of the named documents to be done."""
    entries = dict(progress.documents)
    begun = version_of(progress.epoch, found.clock)
    for document in documents:
        name = document.name
        if name in names:
            entries[name] = DocumentProgress(
                table=document.table,
                relation=found.schemas[name].relation,
                fingerprint=found.schemas[name].fingerprint,
                index_uuid=found.indices[name],
                definition=definition(document),
                load=load,
                load_version=0 if name in found.fresh else begun,
            )
    return replace(progress, documents=entries)


def resynced(
    progress: Progress,
    documents: Sequence[Document],
    names: Collection[str],
    found: Found,
    cursor: Cursor | None,
    minimum_epoch: int = 0,
) -> Progress:
    """Progress under a (possibly) new epoch, with load and sweep of the named documents to do.

    `cursor` None keeps the old one without its open window.  Raises PreconditionError when the
    epochs are used up.
    """
    epoch = max(progress.epoch, minimum_epoch)
    if epoch > MAX_EPOCH:
        raise PreconditionError(
            f"epoch {epoch} is out of range",
            "delete the indices and the stored progress, then start again",
        )
    kept = {d.name: progress.documents[d.name] for d in documents if d.name in progress.documents}
    moved = replace(
        progress,
        cursor=cursor or progress.cursor.discard_window(),
        place=0 if cursor else progress.place,
        marker=None if cursor else progress.marker,
        closed=progress.closed and not cursor,
        identity=dict(found.identity),
        epoch=epoch,
        documents=kept,
    )
    return started(moved, documents, names, found)
