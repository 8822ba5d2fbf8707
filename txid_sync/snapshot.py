"""Snapshots of PostgreSQL as values: which transactions had ended when one was taken.

Theory
------
Every writing transaction gets a txid, drawn from one 64-bit counter.  A snapshot is what
`txid_current_snapshot()` prints, `xmin:xmax:xip`:

* every txid below `xmin` had ended,
* every txid from `xmax` on had not begun,
* of those between, the ones listed in `xip` were still in progress.

So the set of **finished** txids is F(s) = {x < xmax} minus xip, and `clock` = how many of them
there are = xmax - len(xip).

Rules
-----
1. On one primary a later snapshot's finished set contains the earlier one's.
2. Hence the clock never falls from one snapshot to a later one ...
3. ... and two snapshots with equal clocks have the same finished set: they show the same data.
   (Ids of subtransactions only enter the set early; they never leave it.)

Rules 2 and 3 make the clock a version for whatever was read in the snapshot, without a version
column: a later reading has a higher version, an equal version has equal content.

Cases, each with its doctest:

>>> s = Snapshot.parse("10:14:10,12")
>>> [x for x in range(8, 16) if s.finished(x)]          # between: all but the listed ones
[8, 9, 11, 13]
>>> s.clock                                             # 14 txids below xmax, 2 of them open
12
>>> Snapshot.parse("14:14:").clock                      # nothing in progress
14
>>> str(s)                                              # prints what it parsed
'10:14:10,12'
>>> s.contains(Snapshot.parse("10:12:10"))              # rule 1: 11 ended in both
True
>>> s.contains(Snapshot.parse("14:14:"))                # 10 and 12 are not finished in s
False
>>> str(s.meet(Snapshot.parse("11:13:11,12")))          # finished in both
'10:13:10,11,12'
>>> Snapshot.parse("10:14:12,10")                       # refused: the server sorts its list
Traceback (most recent call last):
    ...
txid_sync.errors.CursorFormatError: not a snapshot: '10:14:12,10' (xip must be ascending ...)

No I/O, no clock of the wall, no dependency beyond the standard library.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from operator import ge

from txid_sync.errors import CursorFormatError

MAX_TXID = 2**63 - 1
_TEXT = re.compile(r"([0-9]{1,19}):([0-9]{1,19}):((?:[0-9]{1,19}(?:,[0-9]{1,19})*)?)")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A set of finished txids: all below `xmax` but those in `xip` (ascending, unique)."""

    xmin: int
    xmax: int
    xip: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        problem = _problem(self.xmin, self.xmax, self.xip)
        if problem:
            raise CursorFormatError(f"not a snapshot: '{self}'", problem)

    @classmethod
    def of(cls, xmax: int, xip: tuple[int, ...] = ()) -> Snapshot:
        """The finished set {x < xmax} minus xip in its one canonical form."""
        return cls(xip[0] if xip else xmax, xmax, xip)

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read PostgreSQL's text form `xmin:xmax:xip,xip`; raises CursorFormatError."""
        return _parsed(text)

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.xip))}"

    @property
    def clock(self) -> int:
        """How many txids have ended; see rules 2 and 3."""
        return self.xmax - len(self.xip)

    def finished(self, txid: int) -> bool:
        """Whether this transaction had ended when the snapshot was taken."""
        if txid >= self.xmax:
            return False
        place = bisect_left(self.xip, txid)
        return place == len(self.xip) or self.xip[place] != txid

    @property
    def lowest_open(self) -> int:
        """The least txid that is not finished."""
        return self.xip[0] if self.xip else self.xmax

    def contains(self, other: Snapshot) -> bool:
        """Whether every txid finished in `other` is finished here too."""
        return other.xmax <= self.xmax and not any(map(other.finished, self.xip))

    def below(self, bound: int) -> Snapshot:
        """This finished set cut off at `bound`: F(s) and {x < bound} together."""
        if bound >= self.xmax:
            return Snapshot.of(self.xmax, self.xip)
        return Snapshot.of(bound, self.xip[: bisect_left(self.xip, bound)])

    def meet(self, other: Snapshot) -> Snapshot:
        """What is finished in both."""
        xmax = min(self.xmax, other.xmax)
        open_txids = sorted({x for x in (*self.xip, *other.xip) if x < xmax})
        return Snapshot.of(xmax, tuple(open_txids))


def _problem(xmin: int, xmax: int, xip: tuple[int, ...]) -> str:
    """What is wrong with these three fields, or an empty string."""
    if not 1 <= xmin <= xmax <= MAX_TXID:
        return "need 1 <= xmin <= xmax < 2^63"
    if any(map(ge, xip, xip[1:])):
        return "xip must be ascending and without repeats"
    if xip and not (xmin <= xip[0] and xip[-1] < xmax):
        return "every txid of xip must lie in xmin <= x < xmax"
    return ""


@lru_cache(maxsize=16)
def _parsed(text: str) -> Snapshot:
    """Thousands of open txids take milliseconds, and one answer is looked at several times."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise CursorFormatError(f"not a snapshot: {text!r}", "expected xmin:xmax:xip,...")
    xip = tuple(map(int, match[3].split(","))) if match[3] else ()
    return Snapshot(int(match[1]), int(match[2]), xip)
