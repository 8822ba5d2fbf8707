"""Helpers of the capture's tests: what a log holds, against what has really changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg2 import sql

from tests.integration.streams import World

Key = tuple[str, ...]


def keys(*values: object) -> set[Key]:
    """Keys as their texts; a tuple stands for a composite one."""
    return {
        tuple(str(part) for part in (value if isinstance(value, tuple) else (value,)))
        for value in values
    }


@dataclass(slots=True)
class Seen:
    """What the log has gained: log rows' keys by txid, and truncations."""

    by_txid: dict[int, set[Key]] = field(default_factory=dict)
    truncations: int = 0
    log_rows: int = 0

    @property
    def keys(self) -> set[Key]:
        """The keys of all transactions together."""
        return set().union(*self.by_txid.values())


@dataclass(frozen=True, slots=True)
class Log:
    """A tracked table and its log."""

    world: World
    table: str
    log: str
    key: list[str]

    def content(self) -> dict[Key, str]:
        """The table's rows as texts, by key."""
        column = sql.SQL("t.{}::text")
        names = sql.SQL(", ").join([column.format(sql.Identifier(name)) for name in self.key])
        query = sql.SQL("select array[{}], t::text from {} t")
        text = query.format(names, sql.SQL(self.table)).as_string(self.world.admin)
        return {tuple(key): row for key, row in self.world.rows(text)}


    def read(self, known: set[int]) -> tuple[Seen, set[int]]:
        """The log rows that are not known by their seq."""
        arrays = [f"k{n}::text[]" for n in range(1, len(self.key) + 1)]
        seen, seqs = Seen(), set()
        for txid, seq, items, *columns in self.world.rows(
            f'select txid, seq, items, {", ".join(arrays)} from txid_sync."{self.log}"'
        ):
            seqs.add(seq)
            if seq in known:
                continue
            seen.log_rows += 1
            if items == 0:
                assert columns == [None] * len(self.key)
                seen.truncations += 1
                seen.by_txid.setdefault(txid, set())
                continue
            assert [len(column) for column in columns] == [items] * len(self.key)
            seen.by_txid.setdefault(txid, set()).update(zip(*columns, strict=True))
        return seen, seqs


def log_of(world: World, table: str) -> Log:
    """The log of a tracked table, named as in a query."""
    query = "select log::text, key::text[] from txid_sync.tracked where relation = %s::regclass"
    ((log, key),) = world.rows(query, table)
    return Log(world, table, log, key)


@contextmanager
def watch(world: World, table: str) -> Iterator[Seen]:
    """What the log gains inside the block, filled in at its end.

    Asserts that every key whose row came, went or changed was logged, unless the whole table was,
    and that all its transactions were committed.
    """
    log = log_of(world, table)
    before = log.content()
    _, known = log.read(set())
    seen = Seen()
    yield seen
    gained, _ = log.read(known)
    seen.by_txid, seen.truncations = gained.by_txid, gained.truncations
    seen.log_rows = gained.log_rows
    after = log.content()
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed <= seen.keys or seen.truncations, f"not logged: {changed - seen.keys}"
    for txid in seen.by_txid:
        assert world.rows("select txid_status(%s)", txid) == [("committed",)]
