"""WAL bytes per changed row, tracked and untracked, without full-page images on either side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.report import Figure
from benchmarks.world import Database, World

UPDATE = "update {} set paid = not paid where id between %s and %s"
TABLES = ("untracked", "tracked")
WRITTEN = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rows: int
    rounds: int


FORMS = {"full": Sizes(100_000, 5), "short": Sizes(50_000, 3), "tiny": Sizes(2_000, 1)}


def run(world: World, sizes: Sizes) -> list[Figure]:
    """Every row once: alone, and by statements of 1,000 rows."""
    world.configure(full_page_writes=False, autovacuum=False)
    figures = []
    with world.database("wal") as database:
        for table in TABLES:
            database.lean(table, sizes.rows, track=table == "tracked")
        kinds: dict[str, tuple[Callable[[str], None], float]] = {
            "single rows": (lambda t: database.singles(t, sizes.rows, sizes.rows, 7919), 2.2),
            "1,000-row statements": (lambda t: _statements(database, t, sizes.rows), 1.1),
        }
        for kind, (change, must) in kinds.items():
            written: dict[str, list[float]] = {table: [] for table in TABLES}
            before = _log_bytes(database)
            for _ in range(sizes.rounds):
                for table in TABLES:
                    written[table].append(_bytes(database, table, change) / sizes.rows)
            pairs = zip(written["tracked"], written["untracked"], strict=True)
            ratios = [tracked / untracked for tracked, untracked in pairs]
            figures.append(Figure(f"{kind}, to untracked", ratios, "x", must, at_most=True))
            figures.append(Figure(f"{kind}, untracked", written["untracked"], "bytes/row"))
            figures.append(Figure(f"{kind}, tracked", written["tracked"], "bytes/row"))
            kept = (_log_bytes(database) - before) / (sizes.rows * sizes.rounds)
            figures.append(Figure(f"{kind}, the log with its index", [kept], "bytes/row"))
    world.configure(full_page_writes=None, autovacuum=None)
    return figures


def _log_bytes(database: Database) -> float:
    """Of the tracked table's log, with its index."""
    log = database.value("select log from txid_sync.tracked")
    return float(database.value("select pg_total_relation_size(%s)", f"txid_sync.{log}"))


def _statements(database: Database, table: str, rows: int) -> None:
    statement = UPDATE.replace("{}", table)
    database.batches(statement, rows, 1000)


def _bytes(database: Database, table: str, change: Callable[[str], None]) -> float:
    database.run("vacuum {}", table=table)
    before = database.value(WRITTEN)
    change(table)
    return float(database.value(WRITTEN) - before)
