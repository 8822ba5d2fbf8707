"""Progress of several workers as one: where others may go on when their number changes.  Pure.

Theory
------
"t is in `done`" means: every document of this share that t changed, read in a snapshot that sees t,
was acknowledged.  That stays true for ever, also for progress that is older than its worker.  So
whatever is in the `done` of **every** share of a number of workers is true of all documents, and
hence of every share of any other number.

Rules
-----
1. `done` is the meet; open windows are dropped, their rows are read again.
2. What one worker still had to do is to be done by all: a load begins anew, and so does one whose
   sweep was left (the versions at which the others began their loads are not that sweep's, so it
   would take rows for ghosts and meet the brake).  No load is needed if none had anything to do.
3. A document that the shares know differently (another index, definition, table or catalog entry)
   is left out: it counts as new, so it is written again under a new epoch.
4. Shares of different epochs or histories cannot be put together: the versions that one of them
   sent say nothing of another.  The result is of no history at all, so that each worker resyncs.
   Its epoch is the highest of all; the resync takes one above it.

| of the shares     | in the result                                     |
|-------------------|---------------------------------------------------|
| done              | what all have finished                            |
| highest version   | the highest                                       |
| place             | the furthest                                      |
| load              | from the first key, if any has one, or its sweep  |
| sweep             | the highest version; free of the brake if any is  |
| counts            | the sum                                           |

>>> from txid_sync.cursor import Cursor
>>> from txid_sync.snapshot import Snapshot
>>> one = Progress(Cursor.start(Snapshot.parse("10:14:10,12")), {"system": "1"}, workers=2)
>>> two = Progress(Cursor.start(Snapshot.parse("11:13:11")), {"system": "1"}, workers=2)
>>> str(merged([one, two], 3).cursor.done), merged([one, two], 3).workers
('10:13:10,11,12', 3)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from txid_sync.cursor import Cursor
from txid_sync.progress.base import Counts, DocumentProgress, Progress
from txid_sync.recovery import same_history
from txid_sync.snapshot import Snapshot


def merged(
    shares: Sequence[Progress], workers: int, counted: Sequence[Counts] = ()
) -> Progress:
    """What so many workers begin from, by the progress of all former ones.

    `counted` are counts from before those began.
    """
    first, *others = shares
    fits = all(p.epoch == first.epoch and _same(p, first) for p in others)
    return Progress(
        cursor=Cursor(reduce(Snapshot.meet, [p.cursor.done for p in shares])),
        identity=first.identity if fits else {},
        epoch=max(p.epoch for p in shares),
        highest_version=max(p.highest_version for p in shares) if fits else 0,
        documents=_documents(shares),
        acknowledged=_counts([*counted, *(p.acknowledged for p in shares)]),
        place=max(p.place for p in shares) if fits else 0,
        workers=workers,
    )


def _same(one: Progress, other: Progress) -> bool:
    return same_history(one.identity, other.identity)


def _documents(shares: Sequence[Progress]) -> dict[str, DocumentProgress]:
    found = {}
    for name in shares[0].documents:
        entries = [p.documents[name] for p in shares if name in p.documents]
        if len(entries) == len(shares) and len({_what(entry) for entry in entries}) == 1:
            found[name] = replace(
                entries[0],
                load=any(_is_loading(entry) for entry in entries),
                load_after=None,
                load_version=max(entry.load_version for entry in entries),
                sweep_below=max(entry.sweep_below for entry in entries),
                sweep_asked=any(entry.sweep_asked for entry in entries),
            )
    return found


def _is_loading(entry: DocumentProgress) -> bool:
    return entry.load or (entry.sweep_below > 0 and not entry.sweep_asked)


def _what(entry: DocumentProgress) -> tuple[str, ...]:
    return entry.relation, entry.fingerprint, entry.index_uuid, entry.definition


def _counts(counts: Sequence[Counts]) -> Counts:
    return Counts(
        sum(c.documents for c in counts),
        sum(c.pages for c in counts),
        sum(c.dead_letters for c in counts),
    )
