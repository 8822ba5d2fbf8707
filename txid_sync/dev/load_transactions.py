"""The kinds of transactions that the load generator runs, and how often each comes.

A transaction is decided by its own random numbers alone, so that a run with the same seed does the
same again, whatever became of the transactions before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from psycopg2 import errors, extensions

from txid_sync.dev.load_changes import BIG_KEYS, COMMON_KEYS, HOT_KEYS, Key, Writer
from txid_sync.dev.load_tables import LoadTable, Powers

GID_PREFIX = "txid-sync-load/"
NAP_SECONDS = 0.05
SMALL_ROWS = 10
BIG_ROWS = (10_000, 20_000)
SERIALIZABLE_SHARE = 0.03
COMMIT_SHARE = 0.8

Change = Callable[[LoadTable, Sequence[Key]], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What holds for all transactions of a run; `pause` sleeps, but not beyond the run's end."""

    tables: Sequence[LoadTable]
    powers: Powers
    max_sleep_seconds: float
    truncate: bool
    pause: Callable[[float], object]


class Transaction:
    """One transaction.  `play` runs it and tells whether it was committed."""

    def __init__(self, plan: Plan, cursor: extensions.cursor, random: Random, gid: str) -> None:
        self.plan = plan
        self.random = random
        self.gid = gid
        self.writer = Writer(cursor, plan.tables, random)
        self.prepared = False
        self._cursor = cursor
        kinds = [kind for kind in KINDS if self._possible(kind)]
        (self.kind,) = random.choices(kinds, [KINDS[kind].share for kind in kinds])

    def play(self) -> bool:
        """Run it; raises what the driver raises, and then something may be left open."""
        strict = self.random.random() < SERIALIZABLE_SHARE
        self._run("begin isolation level serializable" if strict else "begin")
        if self.kind == "replica":
            self._run("set local session_replication_role = replica")
        KINDS[self.kind].play(self)
        if self.kind == "two_phase":
            return self._end_in_two_phases()
        commit = self.kind != "rollback"
        self._run("commit" if commit else "rollback")
        return commit

    def _end_in_two_phases(self) -> bool:
        commit = self.random.random() < COMMIT_SHARE
        nap_seconds = self.random.uniform(0, NAP_SECONDS)
        self.prepared = True
        self._run("prepare transaction %s", self.gid)
        self.plan.pause(nap_seconds)
        return finish(self._cursor, self.gid, commit)

    def _possible(self, kind: str) -> bool:
        if kind == "two_phase":
            return self.plan.powers.two_phase
        if kind == "replica":
            return self.plan.powers.replica and bool(self._alone())
        return kind != "truncate" or (self.plan.truncate and bool(self._alone()))

    # -- what is done -----------------------------------------------------------------------

    def small(self) -> None:
        """A few changes of some rows each, in one table."""
        self._changes(self._table(), self.random.choice((1, 1, 1, 2, 3)))

    def hot(self) -> None:
        """Rows that everybody changes."""
        table = self._table()
        keys = self.writer.keys(table, self.random.randrange(1, 4), HOT_KEYS)
        self.random.choice((self.writer.upsert, self.writer.update))(table, keys)

    def several(self) -> None:
        """Changes in several tables."""
        count = min(self.random.randrange(2, 5), len(self.plan.tables))
        for table in self.random.sample(list(self.plan.tables), count):
            self._changes(table, 1)

    def savepoints(self) -> None:
        """Nested savepoints, some of them rolled back."""
        table = self._table()
        self._changes(table, 1)
        for number in range(self.random.randrange(1, 6)):
            self._run(f"savepoint s{number}")
            self._changes(self.random.choice((table, self._table())), 1)
            end = self.random.choice(("rollback to savepoint", "release savepoint", ""))
            if end:
                self._run(f"{end} s{number}")
        self._changes(table, 1)

    def nap(self) -> None:
        """A short pause, so that transactions commit in another order than they began."""
        self._changes(self._table(), 1)
        self.plan.pause(self.random.uniform(0, NAP_SECONDS))
        self._changes(self._table(), 1)

    def sleep(self) -> None:
        """A long pause, after the transaction has got its id."""
        self._changes(self._table(), 1)
        self.plan.pause(self.random.uniform(0, self.plan.max_sleep_seconds))

    def big(self) -> None:
        """Ten to twenty thousand rows."""
        table = self._table()
        keys = self.writer.keys(table, self.random.randint(*BIG_ROWS), BIG_KEYS)
        changes = (
            self.writer.upsert, self.writer.upsert, self.writer.update_together,
            self.writer.delete, self.writer.copy,
        )  # fmt: skip
        self.random.choice(changes)(table, keys)

    def replica(self) -> None:
        """Changes that fire only the triggers that fire always."""
        self._changes(self.random.choice(self._alone()), 1)

    def truncate(self) -> None:
        """Empty a table; sometimes it is written in the same transaction."""
        table = self.random.choice(self._alone())
        if self.random.random() < 0.5:
            self._changes(table, 1)
        self.writer.truncate(table)
        if self.random.random() < 0.5:
            self._changes(table, 1)

    # -- parts ------------------------------------------------------------------------------

    def _changes(self, table: LoadTable, count: int) -> None:
        for _ in range(count):
            keys = self.writer.keys(table, self.random.randint(1, SMALL_ROWS), COMMON_KEYS)
            change, at_most = self._change(table)
            change(table, keys[:at_most])

    def _change(self, table: LoadTable) -> tuple[Change, int]:
        """A change, and how many rows it gets at most."""
        writer = self.writer
        changes: list[tuple[Change, int, float]] = [
            (writer.upsert, SMALL_ROWS, 6), (writer.insert, SMALL_ROWS, 5),
            (writer.insert_blindly, 1, 0.5), (writer.update, SMALL_ROWS, 6),
            (writer.update_together, SMALL_ROWS, 3), (writer.delete, SMALL_ROWS, 4),
            (writer.reinsert, SMALL_ROWS, 2), (writer.change_keys, 3, 1.5),
            (writer.move, 3, 3 if table.moving else 0), (writer.copy, SMALL_ROWS, 1),
        ]  # fmt: skip
        (chosen,) = self.random.choices(changes, [weight for _, _, weight in changes])
        return chosen[0], chosen[1]

    def _table(self) -> LoadTable:
        return self.random.choice(self.plan.tables)

    def _alone(self) -> Sequence[LoadTable]:
        return [table for table in self.plan.tables if table.alone]

    def _run(self, statement: str, *values: object) -> None:
        self._cursor.execute(statement, values or None)


def finish(cursor: extensions.cursor, gid: str, commit: bool) -> bool:
    """End a prepared transaction; gives whether this committed it (not if it is gone)."""
    statement = "commit prepared %s" if commit else "rollback prepared %s"
    try:
        cursor.execute(statement, [gid])
    except errors.UndefinedObject:
        return False
    return commit


@dataclass(frozen=True, slots=True)
class Kind:
    """How often a kind comes, and what it does."""

    share: float
    play: Callable[[Transaction], None]


KINDS: Mapping[str, Kind] = {
    "small": Kind(66, Transaction.small),
    "hot": Kind(10, Transaction.hot),
    "several": Kind(6, Transaction.several),
    "savepoints": Kind(8, Transaction.savepoints),
    "rollback": Kind(4, Transaction.several),
    "nap": Kind(3, Transaction.nap),
    "sleep": Kind(0.3, Transaction.sleep),
    "big": Kind(0.15, Transaction.big),
    "two_phase": Kind(3, Transaction.several),
    "replica": Kind(0.3, Transaction.replica),
    "truncate": Kind(0.05, Transaction.truncate),
}
