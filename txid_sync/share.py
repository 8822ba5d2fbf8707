r"""A worker's share of the keys: every document belongs to exactly one of so many workers.

Which one is told by a hash of the document's id, so by the key as PostgreSQL writes it.  Source and
program compute the same: the block `share` of sql/queries.sql, and `hash_of` here.  It is the hash
that PostgreSQL has for texts (`hashtext`: Bob Jenkins' lookup3 of 2006), of the id with everything
but plain ASCII escaped, so that no encoding and no collation changes it.  Hash-partitioned tables
hang on it, so that versions keep it; a source asks its server for `SAMPLES` all the same.

>>> [share.holds("7") for share in Share.all(4)]
[False, True, False, False]
>>> Share.parse("2/4")
Share(number=2, of=4)
>>> str(_), _.entry("main"), WHOLE.entry("main")          # progress of a pipeline `main`
('2/4', 'main/2of4', 'main')

No I/O, no dependency beyond the standard library.
"""

from __future__ import annotations

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
        return cls(hash_of(id) % of + 1, of)

    @property
    def whole(self) -> bool:
        """Whether this is everything."""
        return self.of == 1

    def holds(self, id: str) -> bool:
        """Whether a document belongs to this share."""
        return self.whole or hash_of(id) % self.of == self.number - 1

    def entry(self, pipeline: str) -> str:
        """The name under which this worker keeps its progress; no pipeline has a `/` in its own."""
        return pipeline if self.whole else f"{pipeline}/{self.number}of{self.of}"


def hash_of(id: str) -> int:
    """The hash of an id, 32 bits."""
    text = id.encode(errors="surrogatepass")
    return hash_bytes(_UNSAFE.sub(_escaped, text))


def hash_bytes(text: bytes) -> int:
    """PostgreSQL's `hash_bytes`, as machines compute it whose lowest byte comes first."""
    a = b = c = (0x9E3779B9 + len(text) + 3923095) & _MASK
    whole = len(text) - len(text) % 12
    for at in range(0, whole, 12):
        a = (a + _word(text[at : at + 4])) & _MASK
        b = (b + _word(text[at + 4 : at + 8])) & _MASK
        c = (c + _word(text[at + 8 : at + 12])) & _MASK
        a, b, c = _mixed(a, b, c)
    rest = text[whole:]
    a = (a + _word(rest[:4])) & _MASK
    b = (b + _word(rest[4:8])) & _MASK
    c = (c + (_word(rest[8:]) << 8)) & _MASK  # its lowest byte is the length's
    return _final(a, b, c)


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in _MIX_BITS:
        a = ((a - c) & _MASK) ^ _turned(c, bits)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    for bits in _FINAL_BITS:
        c = ((c ^ b) - _turned(b, bits)) & _MASK
        a, b, c = b, c, a
    return b


def _turned(word: int, bits: int) -> int:
    return (word << bits | word >> 32 - bits) & _MASK


def _word(text: bytes) -> int:
    return int.from_bytes(text, "little")


def _escaped(match: re.Match[bytes]) -> bytes:
    """As `encode(..., 'escape')` writes a byte."""
    byte = match[0]
    return b"\\\\" if byte == b"\\" else b"\\%03o" % byte[0]


_MASK = 0xFFFF_FFFF
_MIX_BITS, _FINAL_BITS = (4, 6, 8, 16, 19, 4), (14, 11, 25, 16, 4, 14, 24)
_UNSAFE = re.compile(rb"[\x00\\\x80-\xff]")
SAMPLES = ("", "7", "-9223372036854775808", "a text of more than two rounds, and some")
WHOLE = Share()
