"""The load generator against real servers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from tests.support import Database, eventually
from txid_sync.dev import PostgresServer
from txid_sync.dev.load import DEMO_TABLES
from txid_sync.dev.load_transactions import GID_PREFIX
from txid_sync.dev.load_worker import LOCK_CLASS

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


def apply_schema(dsn: str) -> None:
    """Make the demo tables."""
    subprocess.run(
        ["psql", "-qX", "-d", dsn, "-f", str(ROOT / "apply-schema.sql")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip


def start(dsn: str, *arguments: str) -> subprocess.Popen[str]:
    """Start the program."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "load-generator.py"), *arguments],
        env={**os.environ, "POSTGRES_CONFIG": dsn},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(dsn: str, *arguments: str) -> dict[str, int]:
    """Run the program to its end; gives its summary."""
    return summary(start(dsn, *arguments))


def summary(program: subprocess.Popen[str]) -> dict[str, int]:
    """The numbers that it prints at the end."""
    out, err = program.communicate(timeout=120)
    assert program.returncode == 0, err
    found = [re.fullmatch(r"\s*(\S.*) (\d+)", line) for line in out.splitlines()]
    return {match[1]: int(match[2]) for match in found if match}


def ask(dsn: str, query: str, *parameters: object) -> list[tuple[object, ...]]:
    """The rows of a query."""
    with closing(psycopg2.connect(dsn)) as session, session.cursor() as cursor:
        session.autocommit = True
        cursor.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def prepared(dsn: str) -> int:
    """Prepared transactions of this database."""
    query = "select count(*) from pg_prepared_xacts where database = current_database()"
    return int(str(ask(dsn, query)[0][0]))


@pytest.fixture
def demo(database: Database) -> str:
    """The connection string of a database with the demo tables."""
    apply_schema(database.dsn)
    return database.dsn


WRITTEN = "select relname::text from pg_stat_user_tables where n_tup_ins > 0 and n_tup_upd > 0"


def column(dsn: str, query: str) -> list[str]:
    """The first column of what a query finds."""
    return [str(row[0]) for row in ask(dsn, query)]


def test_A18_a_run_writes_all_tables_and_leaves_nothing_open(demo: str, seed: int) -> None:
    """All tables and partitions get rows, moves and rollbacks happen, no 2PC is left."""
    told = run(demo, "12", "--seconds", "15", "--seed", str(seed), "--max-sleep-seconds", "1")
    assert told["transactions"] > 100
    assert told["rollbacks"] > 0
    assert prepared(demo) == 0
    partitions = {"measurements_old", "measurements_new", "measurements_rest"}
    # A truncation may have emptied any table in the end, so the statistics are asked.
    written = {*DEMO_TABLES, *partitions} - {"measurements"}
    eventually(lambda: written <= set(column(demo, WRITTEN)), 20)
    for table in DEMO_TABLES:
        ((rows,),) = ask(demo, f"select count(*) from {table}")
        assert int(str(rows)) <= 25_000, table
    ((logged,),) = ask(demo, "select count(*) from txid_sync.log_1")
    assert int(str(logged)) > 0


def test_one_connection_can_be_replayed(demo: str, seed: int) -> None:
    """The same seed writes the same rows again."""
    arguments = ("1", "--transactions", "150", "--seed", str(seed), "--max-sleep-seconds", "0")
    contents = []
    for _ in range(2):
        names = ", ".join(DEMO_TABLES)
        ask(demo, f"truncate {names}")
        run(demo, *arguments)
        contents.append([
            ask(demo, f"select (to_jsonb(t) - 'version_txid')::text from {table} t order by 1")
            for table in DEMO_TABLES
        ])  # fmt: skip
    assert contents[0] == contents[1]
    assert any(contents[0])


def test_a_crash_of_the_server_does_not_end_the_run(seed: int) -> None:
    """It comes back by itself, goes on, and finishes what it had prepared."""
    with PostgresServer() as server:
        dsn = server.createdb("sync-test")
        apply_schema(dsn)
        run_for = ("--seconds", "15", "--seed", str(seed), "--max-sleep-seconds", "1")
        program = start(dsn, "6", *run_for)
        count = "select count(*) from items"
        eventually(lambda: int(str(ask(dsn, count)[0][0])) > 50, 20)
        server.kill9()
        server.start()
        before = ask(dsn, "select txid_current()")[0][0]
        now = "select txid_current() > %s"
        eventually(lambda: ask(dsn, now, int(str(before)) + 100)[0][0], 20)
        told = summary(program)
        assert told["server away"] >= 6
        assert prepared(dsn) == 0


def test_what_a_dead_generator_prepared_is_rolled_back(demo: str) -> None:
    """But not what a living one has prepared, which holds its lock."""
    with closing(psycopg2.connect(demo)) as session, session.cursor() as cursor:
        session.autocommit = True
        cursor.execute("select pg_advisory_lock_shared(%s, 2)", [LOCK_CLASS])
        for run_number in (1, 2):
            cursor.execute("begin")
            cursor.execute("insert into codes (code) values (%s)", [f"left {run_number}"])
            cursor.execute("prepare transaction %s", [f"{GID_PREFIX}{run_number}/0/0"])
        run(demo, "1", "--transactions", "1", "--seed", "1", "--tables", "items")
        cursor.execute("select gid from pg_prepared_xacts where database = current_database()")
        assert cursor.fetchall() == [(f"{GID_PREFIX}2/0/0",)]
        cursor.execute(f"rollback prepared '{GID_PREFIX}2/0/0'")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(demo: str, number: signal.Signals) -> None:
    """Exit code 0 and a summary, also while transactions sleep."""
    program = start(demo, "4", "--max-sleep-seconds", "600")
    eventually(lambda: ask(demo, "select 1 from items limit 1"), 20)
    program.send_signal(number)
    assert summary(program)["transactions"] > 0
    assert prepared(demo) == 0


def test_other_tables_are_written_by_what_the_catalog_says(database: Database, seed: int) -> None:
    """Domains, generated columns, quoted names, a key by enum: nothing is known beforehand."""
    for statement in (
        "create type mood as enum ('a', 'b')",
        "create domain price as numeric check (value is not null)",
        'create table "T%s" (a mood, "b c" text, d price, e int generated always as (1) stored)',
        'alter table "T%s" add f mood[] not null, add primary key (a, "b c")',
        "create table p (id bigint primary key, t timestamptz[] not null, i interval, b bool)",
        "create table c (p bigint references p on delete cascade, n int, primary key (n, p))",
    ):
        ask(database.dsn, statement)
    tables = '"T%s",p,c'
    told = run(database.dsn, "2", "--transactions", "200", "--tables", tables,
               "--seed", str(seed), "--max-sleep-seconds", "0")  # fmt: skip
    assert told["transactions"] > 100
    assert ask(database.dsn, 'select 1 from "T%s" limit 1')
    assert ask(database.dsn, "select 1 from c limit 1")


@pytest.mark.parametrize(
    ("code", "dsn", "arguments"),
    [
        (2, "", ("0",)),
        (2, "", ("many",)),
        (2, "", ("--tables", ",")),
        (2, "nonsense", ()),
        (3, "host=127.0.0.1 port=1", ()),
        (5, "", ("--tables", "nothing")),
    ],
)
def test_what_goes_wrong_is_told_in_short(
    database: Database, code: int, dsn: str, arguments: tuple[str, ...]
) -> None:
    """No traceback, nothing on stdout, and the documented exit code."""
    program = start(dsn or database.dsn, *arguments)
    out, err = program.communicate(timeout=60)
    assert (program.returncode, out) == (code, ""), err
    assert "Traceback" not in err
    assert "rror: " in err


def test_a_role_that_may_not_write_ends_the_run(demo: str) -> None:
    """A missing right is no error to be counted."""
    ask(demo, "drop role if exists load_reader")
    ask(demo, "create role load_reader login")
    try:
        program = start(re.sub("user=[^ ]+", "user=load_reader", demo), "2", "--seconds", "20")
        _, err = program.communicate(timeout=60)
        assert program.returncode == 5, err
        assert "permission denied" in err
    finally:
        ask(demo, "drop role load_reader")
