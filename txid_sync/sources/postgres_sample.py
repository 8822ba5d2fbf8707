"""Where a long window is looked at, to see whether its keys repeat.

Theory
------
Of N entries whose keys all come again and again, n that are chosen at random hold about n² / 2K
repetitions of K keys.  More keys than `MAX_SEEN` of the backlog are not remembered anyway, and of
so many 1,000 entries hold 2 or 3: with none of them the rest of the window hardly repeats.

Places that are evenly spaced could all miss the repetitions of keys that come in a regular pattern;
so each lies at random within its part of the window.  The same window has the same places.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from txid_sync.cursor import Cursor, Position
from txid_sync.sources.postgres_prepared import array

POINTS = 1000


def points(cursor: Cursor, at: Position) -> dict[str, str]:
    """Parameters of the block `sample`: txids to look from, and to stop before, and how many
    points each of them stands for.

    Half of the points are of the window's first range, as long as that is read: a transaction that
    was open for long may hold most of the window.
    """
    dice = Random(cursor.until_xmax)
    ended = [txid for txid in cursor.ended if txid >= at.txid]
    of_ended = POINTS // 2 if ended else 0
    first, until = max(cursor.done.xmax, at.txid), cursor.until_xmax
    early = Counter(ended[n] for n in _spread(0, len(ended), of_ended, dice))
    late = Counter(_spread(first, until, POINTS - of_ended, dice))
    return {
        "txids": array([*early, *late]),
        "bounds": array([txid + 1 for txid in early] + [until] * len(late)),
        "points": array([*early.values(), *late.values()]),
    }


def _spread(first: int, last: int, count: int, dice: Random) -> list[int]:
    """So many numbers from first <= n < last, each at random within its part of them."""
    size = max(0, last - first)
    return [first + int((n + dice.random()) * size / count) for n in range(count if size else 0)]
