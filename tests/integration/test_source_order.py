"""Every order of commits: connections driven by hand, pages of one and two keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.streams import World, actions, drain, execute, state, world_of
from txid_sync.cursor import Cursor
from txid_sync.model import Document, Limits

T = Document("public.t", "t")


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """A tracked table t with a serial key and a text."""
    with world_of(database) as world:
        world.run("create table public.t (id bigint primary key, v text)")
        world.track("public.t")
        yield world


def table(world: World) -> dict[str, Any]:
    """What the sink must hold."""
    return {str(id): {"id": id, "v": v} for id, v in world.rows("select id, v from public.t")}


def test_A06_F01_out_of_order_commits_arrive(world: World) -> None:
    """A transaction with a lower txid that commits later is delivered, as is the earlier one."""
    source = world.source(T)
    cursor, _ = source.begin()
    first, second = world.session(), world.session()
    execute(first, "insert into public.t values (1, 'a')")
    execute(second, "insert into public.t values (2, 'b')")
    second.commit()
    cursor, got, _ = drain(source, cursor, 1)
    assert [a.id for a in got] == ["2"]
    first.commit()
    cursor, got, _ = drain(source, cursor, 1)
    assert [a.id for a in got] == ["1"]
    assert drain(source, cursor)[1] == []


def test_A07_aborted_transactions_leave_the_cursor(world: World) -> None:
    """Aborted txids do not stay in the cursor once a window has closed, so it does not grow."""
    source = world.source(T)
    cursor, _ = source.begin()
    for n in range(20):
        other = world.session()
        execute(other, "insert into public.t values (%s, 'x')", 1000 + n)
        world.run("insert into public.t values (%s, 'y')", n)
        cursor, _, _ = drain(source, cursor, 3)
        other.rollback()
        assert len(cursor.done.xip) <= 1
    world.run("insert into public.t values (777, 'z')")
    cursor, _, _ = drain(source, cursor, 3)
    assert cursor.done.xip == ()
    assert len(cursor.to_json()) < 100


def test_A08_an_idle_cursor_is_stable_and_a_value(world: World) -> None:
    """Empty polls change no byte; two sources that caught up hold equal cursors, equal hashes."""
    source, other = world.source(T), world.source(T)
    start, _ = source.begin()
    for n in range(5):
        world.run("insert into public.t values (%s, 'x')", n)
    mine, _, _ = drain(source, start, 1)
    theirs, _, _ = drain(other, Cursor.from_json(start.to_json()), 4)
    assert mine == theirs and hash(mine) == hash(theirs)
    before = mine.to_json()
    for _ in range(10):
        world.run("create temp table x (); drop table x")
        mine, got, _ = drain(source, mine, 1)
        assert (got, mine.to_json()) == ([], before)


def test_A02_idle_polls_assign_no_txid(world: World) -> None:
    """A hundred idle polls leave the server's next transaction id where it was."""
    source = world.source(T)
    cursor, _ = source.begin()
    cursor, _, _ = drain(source, cursor)

    def used() -> int:
        before = source.clock()
        for _ in range(100):
            assert source.poll(cursor, 1, Limits()).page is None
        return source.clock() - before

    assert min(used() for _ in range(5)) == 0  # autovacuum may use one now and then


def test_A05_F02_a_large_transaction_is_delivered_in_full(world: World) -> None:
    """One transaction of many pages arrives whole, also as an old open one of the cursor."""
    source = world.source(T)
    cursor, _ = source.begin()
    old = world.session()
    execute(old, "insert into public.t select g, 'old' from generate_series(1, 50) g")
    world.run("insert into public.t select g, 'new' from generate_series(101, 150) g")
    cursor, got, _ = drain(source, cursor, 5)
    assert len(got) == 50
    old.commit()
    again, pages = cursor, 0
    seen: list[str] = []
    while (reading := source.poll(again, 1, Limits(documents=5))).page is not None:
        seen += [a.id for a in actions(reading.page.page)]
        again = Cursor.from_json(reading.page.next.to_json())  # as after a restart
        pages += 1
    assert sorted(map(int, seen)) == list(range(1, 51))
    assert pages >= 10


def test_A09_the_page_size_may_change_at_every_poll(world: World) -> None:
    """Any size may be used with any cursor; sizes out of range are refused before SQL sees them."""
    source = world.source(T)
    cursor, _ = source.begin()
    world.run("insert into public.t select g, 'x' from generate_series(1, 100) g")
    ids: list[str] = []
    for size in [1, 7, 2, 50, 3, 100_000, 1]:
        page = source.poll(cursor, 1, Limits(documents=size)).page
        if page is None:
            break
        ids += [a.id for a in actions(page.page)]
        cursor = page.next
    assert sorted(map(int, ids)) == list(range(1, 101))
    for size in (0, -1, 100_001):
        with pytest.raises(ValueError, match="1 to 100000"):
            Limits(documents=size)


def test_F03_F04_order_and_count_come_from_the_log(world: World) -> None:
    """Keys in falling order, many rows per transaction: one action per change and page, no loss."""
    source = world.source(T)
    cursor, _ = source.begin()
    for n in range(30, 0, -1):
        world.run("insert into public.t values (%s, 'x'), (%s, 'y')", n, 100 + n)
    _, got, _ = drain(source, cursor, 3)
    assert len(got) == 60
    assert state(got) == table(world)


def test_F05_rows_without_a_partner_do_not_end_a_page_early(world: World) -> None:
    """Most keys of a page have no row any more or none that the condition admits: no loss."""
    few = Document("public.t", "few", where="id % 10 = 0")
    source = world.source(few)
    cursor, _ = source.begin()
    world.run("insert into public.t select g, 'x' from generate_series(1, 100) g")
    world.run("delete from public.t where id % 2 = 1")
    _, got, _ = drain(source, cursor, 4)
    assert {a.id for a in got} == {str(n) for n in range(1, 101)}
    assert set(state(got)) == {str(n) for n in range(10, 101, 10)}


def test_A11_conditions_and_columns_survive_every_poll(world: World) -> None:
    """A row that leaves the condition is deleted, one that enters is indexed, with its columns."""
    document = Document("public.t", "t", columns=("v",), where="v <> 'no%'")
    source = world.source(document)
    cursor, _ = source.begin()
    world.run("insert into public.t values (1, 'a'), (2, 'no%')")
    cursor, got, _ = drain(source, Cursor.from_json(cursor.to_json()), 1)
    assert state(got) == {"1": {"v": "a"}}
    assert drain(source, cursor, 1)[1] == []
    world.run("update public.t set v = case id when 1 then 'no%' else 'b' end")
    _, more, _ = drain(world.source(document), Cursor.from_json(cursor.to_json()), 1)
    assert state(got + more) == {"2": {"v": "b"}}
    assert state(actions(source.load("t", None, 1, Limits()).page)) == {"2": {"v": "b"}}


def test_a_row_committed_between_two_pages_is_not_lost(world: World) -> None:
    """A transaction open at the first page, committed in mid-window, arrives in the next window."""
    source = world.source(T)
    cursor, _ = source.begin()
    late = world.session()
    execute(late, "insert into public.t values (500, 'late')")
    world.run("insert into public.t values (1, 'a'), (2, 'b'), (3, 'c')")
    reading = source.poll(cursor, 1, Limits(documents=1))
    assert reading.page is not None
    late.commit()
    world.run("update public.t set v = 'later' where id = 1")
    got = actions(reading.page.page)
    _, rest, _ = drain(source, reading.page.next, 1)
    assert state(got + rest) == table(world)
    assert "500" in state(got + rest)


def test_A25_F17_key_and_row_come_from_one_snapshot(world: World) -> None:
    """A page's content and version agree: equal versions never carry different rows."""
    source = world.source(T)
    cursor, _ = source.begin()
    seen: dict[int, set[str]] = {}
    for n in range(30):
        world.run("insert into public.t values (1, %s) on conflict (id) do update set v = %s",
                  f"v{n}", f"v{n}")  # fmt: skip
        cursor, got, _ = drain(source, cursor, 1)
        for action in got:
            seen.setdefault(action.version, set()).add(str(action.document))
    assert all(len(contents) == 1 for contents in seen.values())
    assert sorted(seen) == list(seen)


def test_delete_and_insert_again_keep_their_order(world: World) -> None:
    """A key that is deleted and inserted again, in one or two transactions, ends as it is."""
    source = world.source(T)
    cursor, _ = source.begin()
    world.run("insert into public.t values (1, 'a'), (2, 'a')")
    both = world.session()
    execute(both, "delete from public.t where id = 1")
    execute(both, "insert into public.t values (1, 'again')")
    both.commit()
    world.run("delete from public.t where id = 2")
    cursor, got, _ = drain(source, cursor, 1)
    held = state(got)
    assert held == table(world)
    world.run("insert into public.t values (2, 'again')")
    _, more, _ = drain(source, cursor, 1)
    assert state(got + more) == table(world)


def test_F15_a_truncation_is_told(world: World) -> None:
    """A TRUNCATE shows as such in its page, and rows inserted after it arrive."""
    source = world.source(T)
    cursor, _ = source.begin()
    world.run("insert into public.t values (1, 'a')")
    world.run("truncate public.t")
    world.run("insert into public.t values (2, 'b')")
    told = []
    while (reading := source.poll(cursor, 1, Limits(documents=1))).page is not None:
        told.append(reading.page.truncated)
        cursor = reading.page.next
    assert told.count(True) == 1
