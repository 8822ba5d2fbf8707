"""What a pipeline, or each of its workers, wants of the change logs is noted in the source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from txid_sync.errors import Stop, Unavailable
from txid_sync.model import Document
from txid_sync.progress.base import Progress
from txid_sync.share import Share
from txid_sync.sources.base import Source

log = logging.getLogger("txid_sync")

PRUNE_BATCH = 10_000


class Upkeep:
    """The part of the keeper that prunes the logs, and never what stored progress still wants."""

    _name: str
    _share: Share
    _source: Source
    _documents: list[Document]
    _seconds: Callable[[], float]
    _progress: Progress | None
    _prune_interval_seconds: float
    _pruned_at: float
    _wanted_txid: int | None

    def prune_if_due(self) -> bool:
        """Now and then after a save: tell what stored progress still wants, and delete one batch of
        log rows that nobody wants.  True: there may be more, so again at once."""
        now = self._seconds()
        if self._wanted_txid is None or now - self._pruned_at < self._prune_interval_seconds:
            return False
        assert self._progress is not None
        documents = self._progress.documents
        uuids = {d.name: documents[d.name].index_uuid for d in self._documents}
        deleted = self._prune(uuids, self._wanted_txid)
        if deleted >= PRUNE_BATCH:
            return True
        self._wanted_txid = None if deleted >= 0 else self._wanted_txid
        self._pruned_at = now
        return False

    def _prune(
        self, uuids: Mapping[str, str], wanted: int | None, shares: Sequence[Share] = ()
    ) -> int:
        """How many rows went of the log that lost most; -1: try again later.  A right that is
        missing is told once."""
        if not self._prune_interval_seconds:
            return 0
        try:
            return max([
                self._source.prune(name, self._reader(share, uuid), wanted, PRUNE_BATCH)
                for share in shares or (self._share,)
                for name, uuid in uuids.items()
            ], default=0)  # fmt: skip
        except Unavailable as error:  # a connection that is lost shows in the next poll
            log.debug("%s: the change logs are pruned later", error.message)
            return -1
        except Stop as error:
            self._prune_interval_seconds = 0.0
            log.warning("the change logs are not pruned: %s", error, extra={"action": "prune"})
            return 0

    def _reader(self, share: Share, index_uuid: str) -> str:
        return reader_of(share.entry(self._name), index_uuid)

    def _note_all(self, shares: Sequence[Share], progress: Progress) -> None:
        """Note that workers are going to go on from this progress."""
        names = [d.name for d in self._documents if d.name in progress.documents]
        uuids = {name: progress.documents[name].index_uuid for name in names}
        self._prune(uuids, progress.cursor.done.lowest_open, shares)

    def _forget_all(self, shares: Sequence[Share], progress: Progress) -> None:
        """Let go of what former workers have noted; what cannot be is let go by retention."""
        if not self._prune_interval_seconds:
            return
        uuids = {entry.index_uuid for entry in progress.documents.values()}
        try:
            for share in shares:
                for uuid in uuids:
                    self._source.forget(self._reader(share, uuid))
        except (Unavailable, Stop) as error:
            log.debug("%s: the former readers stay noted", error.message)


def reader_of(pipeline: str, index_uuid: str) -> str:
    """The name under which a document's change log is read: pipelines of one name may fill several
    indices."""
    return f"{pipeline}/{index_uuid}"
