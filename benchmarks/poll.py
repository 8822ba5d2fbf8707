"""How long a poll takes: many transactions in progress, an old one, a large table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.report import Figure
from benchmarks.running import until
from benchmarks.world import Database, World
from txid_sync.cursor import Cursor
from txid_sync.model import Document, Limits
from txid_sync.sources.postgres import PostgresSource

KINDS = ("nothing ended", "others ended", "one row")
SMALL_ROWS = 10_000
MORE = 5  # times as many polls where one takes a fraction of a millisecond
LIMITS = Limits()
MUST, AIM, MANY_MILLISECONDS = 1.5, 1.1, 10.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    polls: int
    rounds: int
    in_progress: tuple[int, ...]
    changes: int
    large_rows: int
    tables: int


FORMS = {
    "full": Sizes(200, 5, (100, 5000), 1_000_000, 10_000_000, 200),
    "short": Sizes(60, 3, (100, 5000), 100_000, 500_000, 200),
    "tiny": Sizes(3, 1, (3, 5), 50, 1000, 3),
}


class Probe:
    """A source at the end of its stream; changes are made in the first of its tables."""

    def __init__(self, database: Database, *tables: str) -> None:
        self._database, self._table = database, tables[0]
        documents = [Document(f"public.{table}", table) for table in tables]
        self._source = PostgresSource(database.dsn, documents)
        self._cursor: Cursor = self._source.begin()[0]
        self._id = SMALL_ROWS - 1000

    def begin(self) -> None:
        """Go on from now."""
        self._cursor = self._source.begin()[0]
        self._poll()

    def times(self, kind: str, polls: int) -> float:
        """What some polls take, in milliseconds: the median, or where a poll finds nothing (0.2 ms)
        the quickest tenth: two processes that wake each other take twice that on two processors."""
        found = []
        for _ in range(polls * MORE if kind == "nothing ended" else polls):
            if kind == "others ended":
                self._database.value("select txid_current()")
            elif kind == "one row":
                self._id = self._id + 1 if self._id < SMALL_ROWS - 1 else SMALL_ROWS - 999
                self._database.run("update {} set paid = not paid where id = %s", self._id,
                                   table=self._table)  # fmt: skip
            seconds, documents = self._poll()
            found.append(1000 * seconds)
            assert documents == (kind == "one row"), f"{documents} documents"
            if documents:
                self._poll()
        if kind == "nothing ended" and polls > 1:
            return statistics.quantiles(found, n=10)[0]
        return statistics.median(found)

    def _poll(self) -> tuple[float, int]:
        """How long the source took, without the gate, and how many documents it gave."""
        begun = time.perf_counter()
        reading = self._source.poll(self._cursor, 1, LIMITS)
        seconds = time.perf_counter() - begun
        if reading.page is None:
            return seconds, 0
        until(reading.page.page.ready, 0.0)
        self._cursor = reading.page.next
        return seconds, reading.page.page.documents

    def close(self) -> None:
        """Let go of the connection."""
        self._source.close()


def run(world: World, sizes: Sizes) -> list[Figure]:
    """Each case after the base case, in every round."""
    base: dict[str, list[float]] = {}
    again: dict[str, list[float]] = {}
    cases: dict[str, dict[str, list[float]]] = {}
    name = f"one open for {sizes.changes:,} changes"
    world.configure(fsync=False)
    with ExitStack() as stack:
        database = stack.enter_context(world.database("poll"))
        old = stack.enter_context(world.database("poll_old"))
        database.lean("small", max(SMALL_ROWS, *sizes.in_progress))
        database.lean("large", max(sizes.large_rows, SMALL_ROWS))
        old.lean("busy", SMALL_ROWS)
        others = [f"t{n}" for n in range(sizes.tables)]
        for table in others:
            database.lean(table, 10)
        small, large, busy = Probe(database, "small"), Probe(database, "large"), Probe(old, "busy")
        many = Probe(database, "small", *others)
        for probe in (small, large, busy, many):
            stack.callback(probe.close)
        for _ in range(sizes.rounds):
            with _in_progress(database, 1):
                _measure(small, sizes.polls, base)
                _measure(large, sizes.polls, cases.setdefault("large table", {}))
                _measure(many, sizes.polls, cases.setdefault(f"{sizes.tables} tables", {}))
            for number in sizes.in_progress:
                with _in_progress(database, number):
                    _measure(small, sizes.polls, cases.setdefault(f"{number} in progress", {}))
        with _in_progress(old, 1, SMALL_ROWS):
            old.singles("busy", sizes.changes, SMALL_ROWS - 1000)
            for _ in range(sizes.rounds):
                with _in_progress(database, 1):
                    _measure(small, sizes.polls, again)
                _measure(busy, sizes.polls, cases.setdefault(name, {}))
    world.configure(fsync=None)
    bases = {case: again if case == name else base for case in cases}
    return _figures(base, bases, cases)


def _measure(probe: Probe, polls: int, into: dict[str, list[float]]) -> None:
    probe.begin()
    for kind in KINDS:
        into.setdefault(kind, []).append(probe.times(kind, polls))


def _figures(
    base: dict[str, list[float]],
    bases: dict[str, dict[str, list[float]]],
    cases: dict[str, dict[str, list[float]]],
) -> list[Figure]:
    figures = [Figure(f"base, {kind}", base[kind], "ms") for kind in KINDS]
    for case, found in cases.items():
        for kind in KINDS:
            if case.startswith("5000"):
                figures.append(
                    Figure(f"{case}, {kind}", found[kind], "ms", MANY_MILLISECONDS, at_most=True)
                )
            ratios = _ratios(found[kind], bases[case][kind])
            must = None if case.startswith("5000") or case.endswith("tables") else MUST
            figures.append(Figure(f"{case}, {kind}, to base", ratios, "x", must,
                                  AIM if must else None, at_most=True))  # fmt: skip
    return figures


def _ratios(found: Sequence[float], base: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(found, base, strict=True)]


@contextmanager
def _in_progress(database: Database, number: int, first: int = 1) -> Iterator[None]:
    """Prepared transactions that have changed a row each of the first table."""
    table = database.value("select relation::text from txid_sync.tracked order by id limit 1")
    for n in range(1, number + 1):
        database.run("begin")
        database.run("update {} set paid = not paid where id = %s", first + n - 1,
                     table=table)  # fmt: skip
        database.run("prepare transaction %s", f"{table}-{n}")
    yield
    for n in range(1, number + 1):
        database.run("rollback prepared %s", f"{table}-{n}")
