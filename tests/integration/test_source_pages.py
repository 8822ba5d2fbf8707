"""What a page holds: poisoned rows, long ids, awkward names and values, rights, time-outs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.streams import World, actions, drain, execute, state, world_of
from txid_sync.errors import Discontinuity, PreconditionError, SourceUnavailable
from txid_sync.model import Document, Limits
from txid_sync.sources import postgres_session

T = Document("public.t", "t")


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """A fresh database with our schema."""
    with world_of(database) as world:
        yield world


def test_B14_a_poisoned_row_becomes_a_dead_letter(world: World) -> None:
    """A row that PostgreSQL cannot turn into a document is named; all others of its page arrive."""
    world.run("create table public.t (id int primary key, v text)")
    world.track("public.t")
    document = Document("public.t", "t", where="v::int > 0")
    source = world.source(document)
    cursor, _ = source.begin()
    world.run("insert into public.t select g, g::text from generate_series(1, 40) g")
    world.run("insert into public.t values (41, 'seven'), (42, '42'), (43, 'x')")
    _, got, pages = drain(source, cursor, 50)
    assert set(state(got)) == {str(n) for n in range(1, 43) if n != 41}
    dead = {letter.id: letter.reason for page in pages for letter in page.dead}
    assert set(dead) == {"41", "43"}
    assert "22P02" in dead["41"]
    loaded, letters, after = {}, [], None
    while True:
        page = source.load("t", after, 1, Limits(documents=10))
        state(actions(page.page), loaded)
        letters += [letter.id for letter in page.page.dead]
        after = page.next
        if after is None:
            break
    assert set(loaded) == set(state(got))
    assert sorted(letters) == ["41", "43"]


def test_ids_longer_than_the_sink_takes_are_dead_letters(world: World) -> None:
    """A key over 512 bytes is named as a dead letter and is not part of the body."""
    world.run("create table public.t (k text primary key)")
    world.track("public.t")
    source = world.source(T)
    cursor, _ = source.begin()
    world.run("insert into public.t values (repeat('x', 512)), (repeat('y', 513))")
    world.run("insert into public.t values ('é' || repeat('z', 511))")
    _, got, pages = drain(source, cursor, 10)
    assert [a.id for a in got] == ["x" * 512]
    assert {letter.id[0] for page in pages for letter in page.dead} == {"y", "é"}
    assert len(source.load("t", None, 1, Limits()).page.dead) == 2


def test_lookups_of_ids_that_are_no_keys_delete(world: World) -> None:
    """An id that cannot be a key, or is not written as keys are, is answered by a delete."""
    world.run("create table public.t (id int primary key)")
    world.track("public.t")
    world.run("insert into public.t values (1)")
    source = world.source(T)
    found = actions(source.lookup("t", ["1", "01", "x", "1,2", "99999999999", "\\"], 1))
    assert {a.id: a.document for a in found} == {
        "1": {"id": 1}, "01": None, "x": None, "1,2": None, "99999999999": None, "\\": None,
    }  # fmt: skip


def test_a_changed_catalog_changes_the_fingerprint(world: World) -> None:
    """Columns, partitions, row security and our triggers are in the fingerprint; data is not."""
    world.run("create table public.t (id int primary key, v text)")
    world.track("public.t")
    source = world.source(T)

    def now() -> str:
        return source.describe()["t"].fingerprint

    before = now()
    world.run("insert into public.t values (1, 'a')")
    world.run("vacuum full public.t")
    world.run("truncate public.t")
    assert now() == before
    for statement in (
        "alter table public.t add column x int default 7",
        "alter table public.t alter column v type varchar(20)",
        "alter table public.t alter column x type int using x + 1",
        "alter table public.t enable row level security",
    ):
        world.run(statement)
        assert now() != before, statement
        before = now()


def test_B14_missing_things_are_named(world: World) -> None:
    """No table, not tracked, no such column, triggers disabled: one clear message each."""
    world.run("create table public.t (id int primary key)")
    with pytest.raises(PreconditionError, match=r"public.nothing of document n does not exist"):
        world.source(Document("public.nothing", "n"))
    with pytest.raises(PreconditionError, match=r"public.t is not tracked .*txid-sync init"):
        world.source(T)
    world.track("public.t")
    with pytest.raises(PreconditionError, match="no column 'x'"):
        world.source(Document("public.t", "t", columns=("x",))).describe()
    world.run("alter table public.t disable trigger user")
    with pytest.raises(PreconditionError, match="not captured"):
        world.source(T)


def test_A03_the_session_is_pinned_whatever_the_defaults_are(world: World) -> None:
    """Defaults of the database change neither isolation nor what a row looks like."""
    world.run("create table public.t (id int primary key, at timestamptz, d interval, f float8)")
    world.track("public.t")
    world.run("insert into public.t values (1, '2026-01-02 03:04:05+00', '1 mon 2 s', 0.1)")
    plain = world.source(T)
    before = plain.load("t", None, 1, Limits()).page.body.splitlines()[1]
    for setting in (
        "default_transaction_isolation = serializable", "timezone = 'Asia/Tokyo'",
        "datestyle = 'German'", "intervalstyle = 'iso_8601'", "extra_float_digits = -15",
        "search_path = 'x'", "row_security = on", "default_transaction_read_only = off",
    ):  # fmt: skip
        world.run(f'alter database "{world.database.name}" set {setting}')
    changed = world.source(T)
    assert changed.load("t", None, 1, Limits()).page.body.splitlines()[1] == before
    session = changed._session
    assert session.row("show transaction_isolation") == {"transaction_isolation": "read committed"}
    assert session.row("show transaction_read_only") == {"transaction_read_only": "on"}


def test_a_pruned_log_is_noticed(world: World) -> None:
    """A log pruned past the cursor, or past the open window, is a discontinuity, not a gap."""
    world.run("create table public.t (id int primary key)")
    world.track("public.t")
    source = world.source(T)
    cursor, _ = source.begin()
    for n in range(4):
        world.run("insert into public.t values (%s)", n)
    reading = source.poll(cursor, 1, Limits(documents=1))
    assert reading.page is not None
    world.run("select txid_sync.prune('public.t', %s, 1000)", source.clock() + 10)
    with pytest.raises(Discontinuity, match="pruned"):
        source.poll(reading.page.next, 1, Limits(documents=1))
    world.run("insert into public.t values (100)")
    with pytest.raises(Discontinuity, match="pruned"):
        drain(source, cursor, 1)


def test_a_log_of_another_cluster_is_emptied_at_the_first_cursor(world: World) -> None:
    """A restored database brings log rows and a mark of another cluster: they count for nothing."""
    world.run("create table public.t (id int primary key)")
    world.track("public.t")
    world.run("insert into public.t values (1)")
    world.run("update txid_sync.tracked set system_identifier = 7, pruned_txid = 1000000000")
    source = world.source(T)
    cursor, _ = source.begin()
    assert drain(source, cursor)[1] == []
    world.run("insert into public.t values (2)")
    assert [a.id for a in drain(source, cursor)[1]] == ["2"]


def test_pruning_never_overtakes_a_cursor_that_begins_now(world: World) -> None:
    """Beside a long transaction the mark stays below its txid, so that fresh cursors can go on."""
    world.run("create table public.t (id int primary key)")
    world.track("public.t")
    source = world.source(T)
    old = world.session()
    execute(old, "insert into public.t values (1)")
    for n in range(2, 6):
        world.run("insert into public.t values (%s)", n)
    world.run("select txid_sync.prune('public.t', %s, 1000)", source.clock() + 100)
    cursor, _ = source.begin()
    world.run("insert into public.t values (9)")
    old.commit()
    assert {a.id for a in drain(source, cursor)[1]} == {"1", "9"}


def test_a_statement_timeout_halves_the_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that takes too long is asked for again with fewer keys until it fits."""
    monkeypatch.setattr(postgres_session, "STATEMENT_TIMEOUT_SECONDS", 1)
    world.run("create table public.t (id int primary key)")
    world.track("public.t")
    world.run(
        "create function public.slow(int) returns boolean immutable language plpgsql as"
        " $$begin perform pg_sleep(0.3); return true; end$$"
    )
    source = world.source(Document("public.t", "t", where="public.slow(id)"))
    cursor, _ = source.begin()
    world.run("insert into public.t select generate_series(1, 8)")
    _, got, pages = drain(source, cursor, 1000)
    assert len(state(got)) == 8 and len(pages) >= 3  # four rows take longer than a second


def test_a_lost_connection_throws_the_page_away(world: World) -> None:
    """A page whose connection ended before its gate is never sent; a new poll reads it again."""
    world.run("create table public.t (id int primary key)")
    world.track("public.t")
    source = world.source(T)
    cursor, _ = source.begin()
    world.run("insert into public.t values (1)")
    reading = source.poll(cursor, 1, Limits())
    assert reading.page is not None
    world.run(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    with pytest.raises(SourceUnavailable):
        source.clock()
    with pytest.raises(SourceUnavailable):
        reading.page.page.ready()
    source.connect()
    with pytest.raises(SourceUnavailable, match="before the page"):
        reading.page.page.ready()
    _, got, _ = drain(source, cursor)
    assert [a.id for a in got] == ["1"]


def test_the_gate_waits_for_the_flush_and_forces_it(world: World) -> None:
    """With asynchronous commit a page is not ready at once, and the forced flush makes it so."""
    world.run("create table public.t (id int primary key)")
    world.track("public.t")
    source = world.source(T)
    cursor, _ = source.begin()
    writer = world.session()
    execute(writer, "set synchronous_commit = off")
    waited = False
    for n in range(30):
        execute(writer, "insert into public.t values (%s)", n)
        writer.commit()
        reading = source.poll(cursor, 1, Limits())
        assert reading.page is not None
        while not reading.page.page.ready():
            waited = True
        cursor = reading.page.next
    assert waited


def test_a_rewriting_alter_table_deletes_nothing(world: World) -> None:
    """While a table is rewritten, truncated tables' pages never see it empty under an old clock."""
    world.run("create table public.t (id int primary key, v int)")
    world.track("public.t")
    world.run("insert into public.t select g, g from generate_series(1, 2000) g")
    source = world.source(T)
    cursor, _ = source.begin()
    rewriting = world.session()
    for n in range(5):
        world.run("update public.t set v = v + 1 where id <= 500")
        kind = "bigint" if n % 2 == 0 else "int"
        execute(rewriting, f"alter table public.t alter column v type {kind}")
        import threading

        timer = threading.Timer(0.2, rewriting.commit)
        timer.start()
        cursor, got, _ = drain(source, cursor, 1000)
        timer.join()
        assert got and all(action.document is not None for action in got)
