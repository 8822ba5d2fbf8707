"""A sweep: finds the documents of an index that no row stands for any more.

Once a load is complete and acknowledged, every live document that has a row was written with at
least the version at the start of the load.  Whatever is below that version is a candidate; each is
looked up in the source and written or deleted with the clock of that look-up, so a row that came
back meanwhile is never lost.

The **delete brake**: when more than a given share of an index are candidates without a row, nothing
is deleted and DeleteBrake is raised.  Candidates are kept in a temporary file until the scan has
shown that they are few, or a first look-up that few have no row (the sink may have refused the
others: they are dead letters, whose old documents stay); so memory stays bounded.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import IO

from txid_sync.errors import DeleteBrake
from txid_sync.inflight import Effect
from txid_sync.model import Limits
from txid_sync.progress.base import Progress
from txid_sync.share import WHOLE, Share
from txid_sync.sinks.base import Sink
from txid_sync.sinks.bulk import actions_of
from txid_sync.sources.base import Source

CHUNK = 500


def candidates(
    sink: Sink,
    document: str,
    below: int,
    brake_share: float | None,
    check_version: Callable[[int], None],
    share: Share = WHOLE,
    gone: Callable[[Sequence[str]], int] = len,
) -> Iterator[Sequence[str]]:
    """Ids of a share to look up, in chunks; an empty chunk only means that the scan goes on.

    `brake_share` None means no brake.  Raises DeleteBrake before any id is given; `gone` tells how
    many of some ids have no row.  Each chunk's greatest version is shown to `check_version`, which
    raises if it cannot be.  The other workers' documents count for nothing: neither for the brake
    nor by their versions.
    """
    if brake_share is None:
        for chunk in _scan(sink, document, share):
            check_version(max((version for _, version in chunk), default=0))
            old = [id for id, version in chunk if version < below]
            yield from (old[i : i + CHUNK] for i in range(0, max(1, len(old)), CHUNK))
        return
    most = sink.count(document)
    found = total = 0
    with tempfile.TemporaryFile("w+", encoding="utf-8") as spool:
        for chunk in _scan(sink, document, share):
            check_version(max((version for _, version in chunk), default=0))
            old = [id for id, version in chunk if version < below]
            found += len(old)
            total += len(chunk)
            spool.writelines(json.dumps(id) + "\n" for id in old)
            yield []
        size = most if share.whole else total
        if found > brake_share * size:
            found = 0
            for suspects in _spooled(spool):
                found += gone(suspects)
                if found / size > brake_share:
                    raise _brake(document, found, size, brake_share, share)
                yield []
        yield from _spooled(spool)


def _spooled(spool: IO[str]) -> Iterator[Sequence[str]]:
    spool.seek(0)
    ids = (str(json.loads(line)) for line in spool)
    while chunk := list(islice(ids, CHUNK)):
        yield chunk


def without_row(source: Source, document: str, limits: Limits, ids: Sequence[str]) -> int:
    """How many of these documents have no row now."""
    keys = source.page_keys(document, limits)
    parts = [ids[n : n + keys] for n in range(0, len(ids), keys)]
    bodies = [source.lookup(document, part, 1).body for part in parts]
    return sum(a.operation == "delete" for body in bodies for a in actions_of(body))


def _scan(sink: Sink, document: str, share: Share) -> Iterator[Sequence[tuple[str, int]]]:
    for chunk in sink.scan(document):
        yield chunk if share.whole else [(id, version) for id, version in chunk if share.holds(id)]


def _brake(
    document: str, found: int, total: int, brake_share: float, share: Share
) -> DeleteBrake:
    whose = "" if share.whole else f" of worker {share}"
    return DeleteBrake(
        f"a sweep of {document} would delete {found} or more of its {total} documents{whose}, "
        f"more than {brake_share:.0%}",
        "look whether the table holds what it should; to let it happen: --allow-deletes",
    )


def swept(name: str, below: int) -> Effect:
    """Progress after a sweep, unless a later one was asked for meanwhile."""

    def effect(progress: Progress) -> Progress:
        if progress.documents[name].sweep_below != below:
            return progress.with_document(name, sweep_candidates=0)
        return progress.with_document(
            name, sweep_below=0, sweep_asked=False, sweep_candidates=0
        )

    return effect


def looked_up(name: str, candidates: int) -> Effect:
    """Progress after so many candidates more."""

    def effect(progress: Progress) -> Progress:
        count = progress.documents[name].sweep_candidates + candidates
        return progress.with_document(name, sweep_candidates=count)

    return effect
