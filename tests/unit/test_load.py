"""What the load generator decides without a server."""

from __future__ import annotations

from random import Random
from typing import Any
from unittest.mock import MagicMock

import psycopg2
import pytest
from psycopg2 import errors

from txid_sync.dev.load import _share
from txid_sync.dev.load_changes import BIG_KEYS, COMMON_KEYS, Writer
from txid_sync.dev.load_tables import LoadColumn, LoadTable, Powers
from txid_sync.dev.load_transactions import KINDS, Plan, Transaction
from txid_sync.dev.load_values import FIRST_DAY, MAKERS, key_of, value_of
from txid_sync.dev.load_worker import AWAY, EXPECTED, Counts, kind_of


def column(name: str, kind: str, **options: Any) -> LoadColumn:
    """A column that must not be null."""
    given = {"array": False, "labels": (), "not_null": True, **options}
    return LoadColumn(name, kind, **given)


def table(*key: LoadColumn, moving: tuple[str, ...] = ()) -> LoadTable:
    """A table with this key and one other column."""
    return LoadTable("public", "t", key, (column("v", "text"),), moving, (), False)


SENSORS = table(column("sensor", "int4"), column("day", "date"), moving=("day",))
PLAIN = table(column("id", "int8"))


def plan(**options: Any) -> Plan:
    """A plan that never sleeps."""
    given = {"powers": Powers(True, True), "max_sleep_seconds": 0.0, "truncate": True, **options}
    return Plan(tables=(PLAIN, SENSORS), pause=lambda _: None, **given)


@pytest.mark.parametrize("kind", ["int4", "int8", "text", "uuid", "date", "varchar", "numeric"])
def test_different_numbers_are_different_keys(kind: str) -> None:
    """No two numbers of a single key column give one key."""
    numbers = range(8000) if kind == "date" else range(BIG_KEYS.stop)
    assert len({key_of(column("k", kind), n) for n in numbers}) == len(numbers)


@pytest.mark.parametrize("one", [PLAIN, SENSORS, table(*[column(n, "text") for n in "abc"])])
def test_keys_of_tables_are_different_and_bounded(one: LoadTable) -> None:
    """Composite keys too: as many keys as numbers, and no move leaves them."""
    writer = Writer(MagicMock(), [one], Random(0))
    keys = {writer.key(one, n) for n in range(BIG_KEYS.stop)}
    assert len(keys) == BIG_KEYS.stop
    assert {writer.key(one, writer.sibling(one, n)) for n in COMMON_KEYS} <= keys


def test_siblings_lie_in_other_partitions() -> None:
    """The days of one sensor are years apart, before and after every bound of the demo."""
    writer = Writer(MagicMock(), [SENSORS], Random(0))
    years = {int(writer.key(SENSORS, n)[1][:4]) for n in range(5)}
    assert min(years) < 2020 <= max(y for y in years if y < 2030)
    assert int(writer.key(SENSORS, 199)[1][:4]) >= 2030
    assert FIRST_DAY.year in years


def test_the_same_seed_gives_the_same_statements(seed: int) -> None:
    """A transaction follows from its random numbers alone."""

    def statements(start: str) -> list[Any]:
        cursor = MagicMock(rowcount=1)
        cursor.connection.encoding = "UTF8"
        chosen = plan(powers=Powers(False, False), truncate=False)
        played = []
        for number in range(30):
            transaction = Transaction(chosen, cursor, Random(f"{start}/{number}"), "gid")
            transaction.writer = MagicMock(wraps=None)
            transaction.writer.keys = Writer(cursor, [PLAIN, SENSORS], transaction.random).keys
            transaction.play()
            played.append([transaction.kind, str(cursor.mock_calls)])
            played.append([str(call.args) for call in transaction.writer.mock_calls])
            cursor.reset_mock()
        return played

    assert statements(str(seed)) == statements(str(seed))
    assert statements(str(seed)) != statements(f"other {seed}")


def test_all_kinds_of_transactions_come(seed: int) -> None:
    """In some thousand transactions every kind is among them; what is not allowed is not."""
    allowed, writer = plan(), MagicMock()
    kinds = {Transaction(allowed, writer, Random(f"{seed}/{n}"), "").kind for n in range(30_000)}
    assert kinds == set(KINDS)
    denied = plan(powers=Powers(False, False), truncate=False)
    kinds = {Transaction(denied, writer, Random(n), "").kind for n in range(10_000)}
    assert kinds == set(KINDS) - {"two_phase", "replica", "truncate"}


def test_values_can_be_null_only_where_allowed(seed: int) -> None:
    """A column that is not null gets no null, another one does now and then."""
    random = Random(seed)
    for kind in (*MAKERS, "text", "some_type"):
        assert None not in {value_of(random, column("c", kind)) for _ in range(200)}
        free = column("c", kind, not_null=False)
        assert None in {value_of(random, free) for _ in range(200)}


def test_transactions_are_shared_among_connections() -> None:
    """The shares sum up to what was asked for."""
    for connections in (1, 3, 7, 32):
        shares = [_share(100, connections, n) or 0 for n in range(connections)]
        assert sum(shares) == 100
        assert max(shares) - min(shares) <= 1
    assert _share(None, 3, 0) is None


def with_code(code: str) -> psycopg2.Error:
    """An error as the server sends it."""

    class Coded(psycopg2.Error):
        pgcode = code  # type: ignore[assignment]

    return Coded()


@pytest.mark.parametrize(
    ("code", "kind"),
    [("40P01", "deadlock"), ("40001", "serialization"), ("23505", "unique"), ("57P01", AWAY),
     ("57014", "cancelled"), ("23514", "constraint"), ("08006", AWAY), ("53300", AWAY),
     ("42601", None), ("42501", None), ("42P01", None)],
)  # fmt: skip
def test_expected_errors_have_names_and_others_end_the_run(code: str, kind: str | None) -> None:
    """A mistake of the generator's own is never counted away."""
    assert kind_of(with_code(code)) == kind


def test_a_lost_connection_has_no_code() -> None:
    """The driver tells it without one."""
    assert kind_of(errors.OperationalError("server closed the connection")) == AWAY
    assert kind_of(psycopg2.InterfaceError("connection already closed")) == AWAY
    assert kind_of(psycopg2.ProgrammingError("no results to fetch")) is None
    assert AWAY in EXPECTED.values()


def test_counts_add_up_without_sharing() -> None:
    """The sum does not change when a part does."""
    part, total = Counts(1, 2, 3), Counts()
    part.errors["unique"] += 1
    total.add(part)
    total.add(part)
    part.errors["unique"] += 1
    assert (total.transactions, total.rollbacks, total.rows) == (2, 4, 6)
    assert total.errors == {"unique": 2}
