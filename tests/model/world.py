"""The values that the explorer walks over: bounds, states, and small helpers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from txid_sync.cursor import Cursor
from txid_sync.model import StreamPage
from txid_sync.sinks.bulk import actions_of
from txid_sync.sources.memory_look import Connection
from txid_sync.sources.memory_wal import State

Place = tuple[str, str]
Statement = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Program:
    """What one transaction may do: statements (table, keys) to choose from at every step."""

    statements: tuple[Statement, ...]
    writes: int = 2
    deletes: bool = False
    may_abort: bool = True
    savepoint: bool = False
    assign: bool = False
    synchronous: bool | None = True  # None: both ways
    two_phase: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """The bounds of one exhaustive walk."""

    programs: tuple[Program, ...]
    page: int = 1
    tables: tuple[str, ...] = ("a",)
    keys: tuple[str, ...] = ("1", "2")
    alike: bool = True  # programs are equal, so they may begin in order
    crashes: int = 0
    restarts: int = 0
    zombies: bool = False
    image: bool = False  # a crash may lose flushed ends of transactions that changed nothing


@dataclass(frozen=True, slots=True)
class Hand:
    """A page that was read and is not yet sent."""

    document: str
    body: bytes
    next: Cursor
    pid: int
    inserted: int
    stream: StreamPage = field(compare=False)
    late: tuple[object, ...] | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """A commit: label, txid, what it logged, the clock at which it became visible."""

    label: str
    txid: int
    places: tuple[Place, ...]
    clock: int


@dataclass(frozen=True, slots=True)
class World:
    """One state of everything."""

    database: State
    connection: Connection | None
    cursor: Cursor
    stored: Cursor
    sink: tuple[tuple[Place, tuple[int, str | None]], ...]
    acked: tuple[tuple[Place, int], ...]
    transactions: tuple[str, ...]  # "", "w1", "w2s" ... while open, "end"
    facts: tuple[Fact, ...] = ()
    hand: Hand | None = None
    zombie: tuple[str, bytes] | None = None
    crashes: int = 0
    restarts: int = 0


Step = Callable[[World], World | None]


class ViolationError(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a walk found: states met, and the shortest schedule to a violation, if there is one."""

    states: int
    schedule: tuple[str, ...] = ()
    violation: str = ""


def bind(step: Callable[..., World | None], *arguments: object) -> Step:
    return lambda world: step(world, *arguments)


def with_status(world: World, i: int, status: str) -> World:
    transactions = (*world.transactions[:i], status, *world.transactions[i + 1 :])
    return replace(world, transactions=transactions)


def label_of(i: int) -> str:
    return "ABC"[i]


def row_of(key: str, label: str) -> str:
    return f'{{"id":"{key}","by":"{label}"}}'


def path_to(parents: dict[World, tuple[World, str] | None], world: World) -> tuple[str, ...]:
    names: list[str] = []
    at = parents[world]
    while at is not None:
        names.append(at[1])
        at = parents[at[0]]
    return tuple(reversed(names))


@lru_cache(maxsize=10_000)
def actions_in(document: str, body: bytes) -> tuple[tuple[Place, int, str | None], ...]:
    """(place, version, row or None for a delete) of every action of a page."""
    found: list[tuple[Place, int, str | None]] = []
    for action in actions_of(body):
        lines = action.data.decode().splitlines()
        version = json.loads(lines[0])[action.operation]["version"]
        found.append(((document, action.id), version, lines[1] if len(lines) > 1 else None))
    return tuple(found)
