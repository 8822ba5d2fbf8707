"""The values that source, pipeline and sink hand to each other.  No I/O here.

Rows never become Python objects: a page carries the body of one bulk request as bytes, built by
the source, and the sink passes it on.

A version orders everything that is ever written to one document:
`version = epoch * 2^48 + clock`, where clock is that of the snapshot in which it was read.

>>> version_of(epoch=1, clock=5)
281474976710661
>>> epoch_of(version_of(3, 5)), clock_of(version_of(3, 5))
(3, 5)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from txid_sync.cursor import Cursor
from txid_sync.snapshot import Snapshot

CLOCK_BITS = 48
MAX_CLOCK = (1 << CLOCK_BITS) - 1
MAX_EPOCH = (1 << 15) - 1
MAX_ID_BYTES = 512

MAX_PAGE_DOCUMENTS = 100_000
MAX_PAGE_BYTES = 512 * 2**20


def version_of(epoch: int, clock: int) -> int:
    """The version of a document read at `clock` in `epoch`; raises ValueError out of range."""
    if not 0 < epoch <= MAX_EPOCH or not 0 <= clock <= MAX_CLOCK:
        raise ValueError(f"epoch {epoch} or clock {clock} is out of range")
    return (epoch << CLOCK_BITS) | clock


def epoch_of(version: int) -> int:
    """The epoch in a version."""
    return version >> CLOCK_BITS


def clock_of(version: int) -> int:
    """The clock in a version."""
    return version & MAX_CLOCK


@dataclass(frozen=True, slots=True)
class Document:
    """What is synced: the rows of one table, as documents of one index.

    `columns` empty means all of them; `where` is an SQL condition over immutable expressions, rows
    outside it have no document; `mapping` overrides the index mapping of single columns.
    """

    table: str
    index: str
    columns: tuple[str, ...] = ()
    where: str = ""
    capture: str = ""
    mapping: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The document's name everywhere: that of its index (two may not share one)."""
        return self.index


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the sink needs to know it.

    `type` is the name of the base type (domains resolved, the element's for arrays); `kind` is
    one of base, enum, range, composite, pseudo.
    """

    name: str
    type: str
    kind: str = "base"
    array: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """What the source says of one document: its table's columns and key, and a fingerprint.

    `fingerprint` changes whenever something changed that the change log does not show (columns,
    triggers, partitions, row-level security); `relation` identifies the table itself.  `rows` is
    about how many it has (None: not known).
    """

    columns: tuple[Column, ...]
    key: tuple[str, ...]
    relation: str
    fingerprint: str
    rows: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one page may hold: documents, and bytes of body (reached within a page or two)."""

    documents: int = 10_000
    body_bytes: int = 5 * 2**20

    def __post_init__(self) -> None:
        if not 1 <= self.documents <= MAX_PAGE_DOCUMENTS:
            raise ValueError(f"documents per page must be 1 to {MAX_PAGE_DOCUMENTS}")
        if not 1 <= self.body_bytes <= MAX_PAGE_BYTES:
            raise ValueError(f"bytes per page must be 1 to {MAX_PAGE_BYTES}")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A document that source or sink refuses for good: which one, at which version, and why."""

    document: str
    id: str
    version: int
    reason: str


def _always_ready() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Page:
    """One read of at most N keys in one snapshot, ready to be sent.

    `body` is NDJSON for a bulk request, `documents` the number of actions in it.  `version` is
    that of every action.  `dead` are keys of this page that could not be built.  `ready()` is the
    gate: True once what was read can no longer be undone by a crash of the source; it raises
    SourceUnavailable when that can not be known any more, and the page must be thrown away.
    `read_at_seconds` is the monotonic time of reading, for the deadline.  `exact` False: another
    page of the same version may have other content, so they must not be under way together.
    `place` is how far a source that can go back by itself had come (0: it cannot).  `identity`
    tells which server it was read from.
    """

    document: str
    body: bytes
    documents: int
    version: int
    dead: tuple[DeadLetter, ...] = ()
    ready: Callable[[], bool] = _always_ready
    read_at_seconds: float = 0.0
    fingerprint: str = ""
    exact: bool = True
    place: int = 0
    identity: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def read_documents(self) -> int:
        """How many documents were read for it, those that could not be built among them."""
        return self.documents + len(self.dead)

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing for the sink."""
        return not self.documents and not self.dead


@dataclass(frozen=True, slots=True)
class StreamPage:
    """A page of the window; `next` is the cursor once it is acknowledged.

    `truncated` tells that the page passes a truncation of its table.  `until_clock` is the clock
    of the window's first snapshot: up to there the sink is complete once the window is closed.
    """

    page: Page
    next: Cursor
    truncated: bool = False
    until_clock: int = 0


@dataclass(frozen=True, slots=True)
class LoadPage:
    """A page of a load; `next` is the key (as texts) after which to go on, None at the end."""

    page: Page
    next: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one poll of the source tells.

    `identity` says which server, database and history answered; `clock` is that of the poll's
    snapshot; `page` is None when nothing is new, and then the sink is complete up to `clock` once
    all earlier pages are acknowledged.
    """

    identity: Mapping[str, str]
    clock: int
    page: StreamPage | None


@dataclass(frozen=True, slots=True)
class Ack:
    """The sink's answer to a page: every action of it is applied, or is a dead letter.

    `conflict_version` is the greatest version that the sink already held of a document of this
    page when it was above the page's own (0: none).  `retried` tells that some actions were sent
    again after others: whatever was sent in between must be read and sent once more.  `seconds` is
    how long the sink took.
    """

    documents: int
    body_bytes: int
    dead: tuple[DeadLetter, ...] = ()
    conflict_version: int = 0
    retried: bool = False
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Held:
    """A live document as the sink gives it back: its version and its bytes."""

    version: int
    source: bytes


@dataclass(frozen=True, slots=True)
class LogEntry:
    """That a committed transaction changed a document; `id` None: it emptied the whole table."""

    id: str | None
    txid: int


@dataclass(frozen=True, slots=True)
class LogView:
    """Entries of a change log as one statement saw them.

    `identity` and `snapshot` are those of the statement, `pruned_txid` the greatest txid that was
    pruned from the log (None: not known).  `complete` False: the log has more rows than were
    looked at.
    """

    identity: Mapping[str, str]
    snapshot: Snapshot
    pruned_txid: int | None
    entries: tuple[LogEntry, ...]
    complete: bool
