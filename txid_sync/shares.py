"""Stored progress of workers: each has its own, and all began from one base.

Under the name of the pipeline stands its progress, or, for several workers, the **base** from which
each of them began.  It is written when their number changes, by one compare-and-set, and never in
between.  A worker's own progress holds the fence of the base that it began from: with any other
base it counts for nothing, whatever its name is.

Change of the number, by the first worker of the new number that starts:

1. read the progress of every old worker (of one that never stored any: the base),
2. note in the source that the new readers want what those together have not finished,
3. read it again (now nothing that it wants can be pruned any more) and put it together,
4. store that as the new base if nobody else has stored one: **the change is this one step**,
5. remove what the old workers have stored, and their notes in the source.

A process may die after any of these: before 4 nothing has changed, after it only rubbish is left.
An old worker that runs on does no harm: what it sends is as true as before, and what it counts as
done is lost to nobody who counts it anew.  It ends with TakenOver at its next save.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from txid_sync.errors import TakenOver
from txid_sync.handover import merged
from txid_sync.progress.base import REPAIR, Counts, Fence, Progress, ProgressStore
from txid_sync.share import WHOLE, Share

log = logging.getLogger("txid_sync")

ATTEMPTS = 20

Stored = tuple[Progress, Fence]
Notes = Callable[[Sequence[Share], Progress], None]


def stored_shares(store: ProgressStore, pipeline: str) -> dict[Share, Progress]:
    """The progress of every share, {} if the pipeline never ran; a worker that never stored any is
    where the base is."""
    found = store.load(pipeline)
    if found is None:
        return {}
    shares = Share.all(found[0].workers)
    return {share: _progress(store, pipeline, share, found) for share in shares}


def stored_of(
    store: ProgressStore, pipeline: str, id: str
) -> tuple[Share, Progress] | tuple[Share, None]:
    """The share that a document belongs to now, and its progress."""
    found = store.load(pipeline)
    if found is None:
        return WHOLE, None
    share = Share.of_id(id, found[0].workers)
    return share, _progress(store, pipeline, share, found)


def remove(store: ProgressStore, pipeline: str) -> None:
    """Forget a pipeline with all its workers."""
    found = store.load(pipeline)
    for share in Share.all(found[0].workers) if found else ():
        store.delete(share.entry(pipeline))
    store.delete(pipeline)


def _progress(
    store: ProgressStore, pipeline: str, share: Share, base: Stored
) -> Progress:
    """The progress of a worker; `base` is what stands under the pipeline's own name."""
    if share.whole:
        return base[0]
    own = store.load(share.entry(pipeline))
    return own[0] if own is not None and own[0].base == base[1] else _begun(base)


def _begun(base: Stored) -> Progress:
    """Progress of a worker that begins."""
    return replace(base[0], base=base[1], acknowledged=Counts())


class ShareProgress:
    """The stored progress of the worker that runs here.

    `note` tells the source what readers want, `forget` that they want nothing any more.
    """

    def __init__(
        self, store: ProgressStore, pipeline: str, share: Share, note: Notes, forget: Notes
    ) -> None:
        self._store, self._pipeline, self._share = store, pipeline, share
        self._note, self._forget = note, forget
        self._base_fence: Fence | None = None

    def load(self) -> Stored | None:
        """What is stored, taken over from another number of workers if need be; None: nothing."""
        for _ in range(ATTEMPTS):
            found = self._store.load(self._pipeline)
            if found is None:
                return None
            if found[0].workers != self._share.of:
                self._take_over(*found)
                continue
            self._base_fence = found[1]
            return found if self._share.whole else self._own(found)
        raise TakenOver(
            f"the progress of pipeline {self._pipeline!r} is stored by others all the time",
            "let only one number of workers run",
        )

    def begin(self, first: Progress) -> Stored:
        """Store the first progress of all; gives what this worker goes by."""
        first = replace(first, workers=self._share.of)
        if self._share.whole:
            return first, self._store.save(self._pipeline, first, None)
        try:
            self._store.save(self._pipeline, first, None)
        except TakenOver:
            log.info("another worker has begun this pipeline")
        found = self.load()
        if found is None:
            raise TakenOver(f"somebody removes the progress of pipeline {self._pipeline!r}")
        return found

    def save(self, progress: Progress, fence: Fence | None) -> Fence:
        """Store; raises TakenOver if another instance did, or the number of workers changed."""
        self._check_base()
        return self._store.save(self._name, progress, fence)

    def repair(self) -> str:
        """What was noted of the last repair, by whatever verification."""
        return self._store.recall(self._pipeline, REPAIR)

    def check(self, fence: Fence | None) -> None:
        """Raise TakenOver if somebody else has stored anything."""
        self._check_base()
        stored = self._store.load(self._name)
        if stored is None or stored[1] != fence:
            raise TakenOver(
                f"another instance, or a resync, saved the progress of pipeline {self._name!r}",
                "let only one instance run; after a resync start this one again",
            )

    def _own(self, base: Stored) -> Stored:
        """What this worker has stored; stored now if that is nothing, or of another base."""
        own = self._store.load(self._name)
        if own is not None and own[0].base == base[1]:
            return own
        begun = _begun(base)
        return begun, self._store.save(self._name, begun, own[1] if own else None)

    @property
    def _name(self) -> str:
        return self._share.entry(self._pipeline)

    def _check_base(self) -> None:
        if self._share.whole:
            return
        found = self._store.load(self._pipeline)
        if found is None or found[1] != self._base_fence:
            now = f" (now {found[0].workers})" if found else ""
            raise TakenOver(
                f"the number of workers of pipeline {self._pipeline!r} has changed{now}",
                "end the workers of the old number; the new ones have gone on from there",
            )

    def _take_over(self, base: Progress, fence: Fence) -> None:
        """Make the base of another number of workers."""
        new, old = Share.all(self._share.of), Share.all(base.workers)
        self._note(new, self._merged(base, fence))
        try:
            self._store.save(self._pipeline, self._merged(base, fence), fence)
        except TakenOver:
            return  # whoever stored something meanwhile is looked at anew
        log.warning(
            "pipeline %s: now shared by %d instead of %d", self._pipeline, len(new), len(old),
            extra={"action": "shares"},
        )  # fmt: skip
        for share in old:
            if not share.whole:
                self._store.delete(share.entry(self._pipeline))
        self._forget(old, base)

    def _merged(self, base: Progress, fence: Fence) -> Progress:
        found = base, fence
        old = Share.all(base.workers)
        shares = [_progress(self._store, self._pipeline, share, found) for share in old]
        counted = [] if base.workers == 1 else [base.acknowledged]
        return merged(shares, self._share.of, counted)
