"""A model of a primary with subtransactions, of a standby that replays its WAL, and of a syncer.

The standby behaves as PostgreSQL does: its printed snapshots have no xip, its xmin and xmax come
from the txids known to be assigned, ids of too many subtransactions are forgotten there, an end
takes the whole family away.  The syncer is the real cursor under the rules of recovery.py; each
rule is one small method, so that tests can break one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from txid_sync import recovery
from txid_sync.cursor import Cursor, Position
from txid_sync.snapshot import Snapshot

FIRST_TXID = 3
SUBTRANSACTIONS = 2  # that a standby keeps in memory; PostgreSQL: 64


@dataclass(frozen=True)
class Record:
    """A WAL record: what it tells of a transaction, and the log row or row that it writes."""

    kind: str
    txid: int
    family: tuple[int, ...] = ()
    writes: tuple[tuple[int, str, int], ...] = ()


@dataclass
class Transaction:
    """An open transaction: its top-level txid, subtransactions, and writes (seq, key, value)."""

    txid: int
    children: list[int] = field(default_factory=list)
    writes: list[tuple[int, str, int]] = field(default_factory=list)


class Primary:
    """Transactions in progress and the WAL that they write."""

    def __init__(self) -> None:
        self.next_txid, self.seq, self.value = FIRST_TXID, 0, 0
        self.open: dict[int, Transaction] = {}
        self.wal: list[Record] = []

    def _assign(self) -> int:
        self.next_txid += 1
        return self.next_txid - 1

    def begin(self, slot: int) -> Transaction:
        """The transaction of this slot; its txid is assigned, nothing is written."""
        return self.open.setdefault(slot, Transaction(self._assign()))

    def write(self, slot: int, key: str) -> None:
        """Change a row, unless another transaction holds it."""
        if any(key == k for o, t in self.open.items() if o != slot for _, k, _ in t.writes):
            return
        transaction = self.begin(slot)
        self.seq += 1
        self.value += 1
        transaction.writes.append((self.seq, key, self.value))
        self.wal.append(Record("write", max([transaction.txid, *transaction.children])))

    def subtransaction(self, slot: int) -> None:
        """A savepoint with an id of its own; more than a few of them are announced."""
        transaction = self.begin(slot)
        transaction.children.append(self._assign())
        if len(transaction.children) % (SUBTRANSACTIONS + 1) == 0:
            family = tuple(transaction.children)
            self.wal.append(Record("assignment", transaction.txid, family))

    def end(self, slot: int, commits: bool) -> None:
        """Commit or abort."""
        transaction = self.open.pop(slot, None)
        if transaction is not None:
            writes = tuple(transaction.writes) if commits else ()
            kind = "commit" if commits else "abort"
            family = tuple(transaction.children)
            self.wal.append(Record(kind, transaction.txid, family, writes))

    def crash(self) -> None:
        """What is open ends without a trace; the next start tells what runs: nothing."""
        self.open.clear()
        self.wal.append(Record("running", self.next_txid))

    def rows(self) -> dict[str, int]:
        """The committed rows."""
        return {k: v for record in self.wal for _, k, v in record.writes}


class Standby:
    """Replays a WAL; `place` is how many records it has replayed."""

    def __init__(self, primary: Primary) -> None:
        self.primary = primary
        self.restart(0)

    def restart(self, place: int) -> None:
        """Come back having replayed only so much."""
        self.place, self.next_txid, self.latest = 0, FIRST_TXID, FIRST_TXID - 1
        self.known: set[int] = set()
        self.parents: dict[int, int] = {}
        self.log: list[tuple[int, int, str]] = []
        self.rows: dict[str, int] = {}
        while self.place < place:
            self.replay()

    def replay(self) -> None:
        """Replay one record, if there is one."""
        if self.place == len(self.primary.wal):
            return
        record = self.primary.wal[self.place]
        self.place += 1
        below = record.txid if record.kind == "running" else record.txid + 1
        self.known.update(range(self.next_txid, below))
        self.next_txid = max(self.next_txid, below)
        if record.kind == "assignment":
            self.parents.update(dict.fromkeys(record.family, record.txid))
            self.known.update(range(self.next_txid, max(record.family) + 1))
            self.next_txid = max(self.next_txid, max(record.family) + 1)
            self.known.difference_update(record.family)
        elif record.kind == "running":
            self.known = {x for x in self.known if x >= record.txid}
            self.latest = max(self.latest, record.txid - 1)
        elif record.kind in ("commit", "abort"):
            family = {record.txid, *record.family}
            self.known.update(range(self.next_txid, max(family) + 1))
            self.next_txid = max(self.next_txid, max(family) + 1)
            self.known -= family
            self.latest = max(self.latest, *family)
            for seq, key, value in record.writes:
                self.log.append((record.txid, seq, key))
                self.rows[key] = value

    def status(self, txid: int) -> str:
        """txid_status."""
        assert txid < self.next_txid, "a txid in the future is an error"
        running = txid in self.known or self.parents.get(txid) in self.known
        return "in progress" if running else "ended"

    def bounds(self) -> tuple[int, int]:
        """xmin and xmax of the snapshot that it prints; its xip is empty."""
        xmax = self.latest + 1
        return min([x for x in self.known if x < xmax], default=xmax), xmax


@dataclass(frozen=True)
class Sent:
    """A page as it was sent: its version, what it counts, and which txids it saw ended."""

    version: int
    counted: Snapshot
    seen: frozenset[int]


class Syncer:
    """Reads pages from a standby into a sink that compares versions."""

    def __init__(self, standby: Standby, limit: int = 3) -> None:
        self.standby, self.limit = standby, limit
        self.known: Snapshot | None = None
        self.place = self.asked_at = 0
        self.cursor = Cursor.start(self.ask())
        self.asked: Snapshot | None = None
        self.sink: dict[str, tuple[int, int]] = {
            key: (0, value) for key, value in standby.rows.items()
        }
        self.sent: list[Sent] = []

    # -- the rules, one method each -----------------------------------------------------------

    def ask(self) -> Snapshot:
        """F, asked about until it is complete."""
        while True:
            answer = self.answer()
            self.known = recovery.finished(answer)
            if answer.complete:
                return self.known

    def answer(self) -> recovery.Answer:
        """One question, answered."""
        xmin, x1 = self.standby.bounds()
        asked, to = recovery.asked(recovery.question(self.known, self.limit), xmin, x1)
        running = tuple(x for x in asked if self.standby.status(x) == "in progress")
        return recovery.Answer(xmin, x1, to, running)

    def behind(self, finished: Snapshot) -> bool:
        """Rule 5; the place is that of the question, not the one reached since."""
        return self.asked_at < self.place or not finished.contains(self.cursor.done)

    def version(self, finished: Snapshot) -> int:
        """The version of a page that is read after F."""
        return finished.clock

    def question(self) -> None:
        """The first half of a poll."""
        self.asked_at = self.standby.place
        self.asked = self.ask()

    def counted(self) -> Snapshot | None:
        """F as the page that is read now counts it."""
        return self.asked

    # -- a poll -------------------------------------------------------------------------------

    def reconnect(self) -> None:
        """Nothing is known of the server any more."""
        self.known = self.asked = None

    def page(self, size: int) -> bool:
        """The second half of a poll: read a page in a new snapshot, send it.  False: no news."""
        finished = self.counted()
        self.asked = None
        if finished is None or self.behind(finished):
            return False
        cursor = self.cursor.open(finished)
        at = cursor.position
        after = (0, 0) if at is None else (at.txid, at.seq)
        log = [(t, s, k) for t, s, k in self.standby.log if cursor.wants(t) and (t, s) > after]
        if not log and self.cursor.window is None:
            return False
        chosen = sorted(log)[:size]
        self._send(finished, {k for _, _, k in chosen})
        last = Position("a", *chosen[-1][:2], 0) if chosen else None
        assert cursor.window is not None
        self.cursor = cursor.after(cursor.window.until, last, len(chosen) == size, ())
        return True

    def _send(self, finished: Snapshot, keys: set[str]) -> None:
        xmax = self.standby.next_txid
        ended = {x for x in range(FIRST_TXID, xmax) if self.standby.status(x) == "ended"}
        sent = Sent(self.version(finished), finished, frozenset(ended))
        self.place = max(self.place, self.standby.place)
        for before in self.sent:
            assert before.version <= sent.version, "versions fell"
            news = {x for x in sent.seen - before.seen if finished.finished(x)}
            assert not news or before.version < sent.version, "an equal version hides what ended"
        self.sent.append(sent)
        for key in keys:
            value = self.standby.rows[key]
            version, old = self.sink.get(key, (0, 0))
            assert sent.version < version or value >= old, "the sink went back"
            if sent.version >= version:
                self.sink[key] = sent.version, value
        self.check()

    def check(self) -> None:
        """Whatever is done is in the sink, in that state or a later one."""
        for record in self.standby.primary.wal:
            for _, key, value in record.writes:
                if self.cursor.done.finished(record.txid):
                    assert self.sink.get(key, (0, 0))[1] >= value, f"{key} of {record.txid} is lost"

    def drain(self) -> None:
        """Everything has ended and is replayed: read on until there is no news."""
        for _ in range(1000):
            self.question()
            if not self.page(2):
                break
        else:
            raise AssertionError("the stream does not end")
        self.check()
        held = {key: value for key, (_, value) in self.sink.items()}
        assert held == self.standby.primary.rows(), "the ends differ"


class Schedule:
    """A primary, a standby and a syncer, driven by numbers."""

    KEYS = "abc"

    def __init__(self, syncer: type[Syncer] = Syncer) -> None:
        self.primary = Primary()
        self.standby = Standby(self.primary)
        self.syncer = syncer(self.standby)

    def step(self, number: int) -> None:
        """One action, chosen by a number."""
        action, rest = number % 12, number // 12
        slot, key = rest % 3, self.KEYS[rest % len(self.KEYS)]
        if action < 3:
            self.primary.write(slot, self.KEYS[(rest // 3) % len(self.KEYS)])
        elif action == 3:
            self.primary.subtransaction(slot)
        elif action == 4:
            self.primary.end(slot, commits=rest % 4 > 0)
        elif action == 5:
            self.primary.begin(slot)
        elif action in (6, 7, 8):
            for _ in range(1 + rest % 3):
                self.standby.replay()
        elif action == 9:
            self.syncer.question()
        elif action == 10:
            self.syncer.page(1 + rest % 2)
        else:
            self._rare(rest, key)

    def _rare(self, rest: int, key: str) -> None:
        if rest % 5 == 0:
            self.primary.crash()
        elif rest % 5 in (1, 2):
            self.standby.restart(self.standby.place * (rest // 5 % 4) // 4)
            self.syncer.reconnect()
        elif rest % 5 == 3:
            self.syncer.reconnect()
        else:
            self.primary.write(9, key)
            self.primary.end(9, commits=True)

    def finish(self) -> None:
        """End and replay everything; compare."""
        for slot in list(self.primary.open):
            self.primary.end(slot, commits=True)
        while self.standby.place < len(self.primary.wal):
            self.standby.replay()
        self.syncer.drain()

    def run(self, numbers: list[int]) -> None:
        """A whole schedule."""
        for number in numbers:
            self.step(number)
        self.finish()
