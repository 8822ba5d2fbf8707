r"""A worker's share of the keys: every document belongs to exactly one of so many workers.

Which one is told by a hash of the document's id, so by the key as PostgreSQL writes it.  Source and
program compute the same: the block `share` of sql/queries.sql, and `holds` here.  The hash is the
first 32 bits of md5, which no version, collation or machine changes; no secret hangs on it.

>>> [share.holds("7") for share in Share.all(4)]
[False, False, False, True]
>>> Share.parse("2/4")
Share(number=2, of=4)
>>> str(_), _.entry("main"), WHOLE.entry("main")          # progress of a pipeline `main`
('2/4', 'main/2-of-4', 'main')

No I/O, no dependency beyond the standard library.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from txid_sync.errors import UsageError

MAX_WORKERS = 128
_TEXT = re.compile(r"([0-9]{1,3})/([0-9]{1,3})")


@dataclass(frozen=True, slots=True)
class Share:
    """The keys of worker `number` (from 1 on) of a pipeline that has `of` workers."""

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of <= MAX_WORKERS:
            raise UsageError(
                f"{self} is no worker", f"2/4 is the second of four; at most {MAX_WORKERS}"
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read `2/4`; raises UsageError."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise UsageError(f"{text!r} is no worker", "2/4 is the second of four")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def all(cls, of: int) -> tuple[Share, ...]:
        """The shares of so many workers: together everything, no two of them anything."""
        return tuple(cls(number, of) for number in range(1, of + 1))

    @classmethod
    def of_id(cls, id: str, of: int) -> Share:
        """The one of so many shares that a document belongs to."""
        return cls(_hash(id) % of + 1, of)

    @property
    def whole(self) -> bool:
        """Whether this is everything."""
        return self.of == 1

    def holds(self, id: str) -> bool:
        """Whether a document belongs to this share."""
        return self.whole or _hash(id) % self.of == self.number - 1

    def entry(self, pipeline: str) -> str:
        """The name under which this worker keeps its progress; no pipeline has a `/` in its own."""
        return pipeline if self.whole else f"{pipeline}/{self.number}-of-{self.of}"


def _hash(id: str) -> int:
    digest = hashlib.md5(id.encode(errors="surrogatepass"), usedforsecurity=False)
    return int.from_bytes(digest.digest()[:4])


WHOLE = Share()
