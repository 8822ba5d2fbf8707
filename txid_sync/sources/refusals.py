"""When a cursor cannot be followed any more; the same for every source."""

from __future__ import annotations

from collections.abc import Sequence

from txid_sync.cursor import Cursor
from txid_sync.errors import Discontinuity, UsageError
from txid_sync.snapshot import Snapshot


def check_forward(cursor: Cursor, snapshot: Snapshot) -> None:
    """Raise Discontinuity if the source shows fewer transactions than are done."""
    if cursor.ahead_of(snapshot):
        raise Discontinuity(
            f"the source went back: its next transaction is {snapshot.xmax}, "
            f"up to {cursor.done.xmax} are done"
        )


def check_pruned(cursor: Cursor, pruned_txid: int | None) -> None:
    """Raise Discontinuity if a log was pruned where it may not have been read yet."""
    if pruned_txid is not None and cursor.overtaken_by(pruned_txid):
        raise Discontinuity(f"a log was pruned up to {pruned_txid}, which was not read yet")


def check_key(document: str, columns: Sequence[str], texts: Sequence[str]) -> None:
    """Raise UsageError unless there is one text for each column of the key."""
    if len(columns) != len(texts):
        raise UsageError(
            f"the key of {document} has {len(columns)} columns, {len(texts)} were given",
            f"give them in this order: {', '.join(columns)}",
        )
