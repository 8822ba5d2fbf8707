"""Rules of the source that only a real PostgreSQL shows; each test ends a mutant of the list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.streams import World, actions, drain, execute, state, two_tables
from txid_sync.cursor import Cursor, Position, Window
from txid_sync.errors import Discontinuity, PreconditionError
from txid_sync.model import Document, Limits
from txid_sync.sources.postgres_session import Session

pytestmark = pytest.mark.integration

T, U = Document("public.t", "t"), Document("public.u", "u")


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """Two tracked tables with a number as key."""
    with two_tables(database) as world:
        yield world


def log_of(world: World, table: str) -> str:
    """The qualified name of a table's log."""
    ((log,),) = world.rows(
        "select log::text from txid_sync.tracked where relation = %s::regclass", table
    )
    return f"txid_sync.{log}"


def test_documents_reordered_in_mid_window_lose_nothing(world: World) -> None:
    """A configuration whose documents change places between two runs reads the other table too."""
    cursor, _ = world.source(T, U).begin()
    world.run("insert into public.u values (11, 1)")
    world.run("insert into public.t values (1, 1), (2, 1)")
    first = world.source(T, U).poll(cursor, 1, Limits(documents=1)).page
    assert first is not None
    _, rest, _ = drain(world.source(U, T), first.next, 1)
    assert set(state(actions(first.page) + rest)) == {"1", "2", "11"}


def test_a_log_pruned_between_the_probe_and_its_page_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page itself reads the mark, so that a window is not closed over what has just gone."""
    source = world.source(T)
    cursor, clock = source.begin()
    world.run("insert into public.t values (1, 1)")
    real = Session.raw_row

    def pruned(session: Session, query: Any, parameters: Any) -> dict[str, Any]:
        world.run("select txid_sync.prune('public.t', %s, 9)", clock + 100)
        return real(session, query, parameters)

    monkeypatch.setattr(Session, "raw_row", pruned)
    with pytest.raises(Discontinuity, match="pruned"):
        source.poll(cursor, 1, Limits())


def falling_seqs(world: World) -> None:
    """Two transactions, the later one with the lower numbers of the sequence; both committed."""
    first, second = world.session(), world.session()
    execute(first, "select txid_current()")
    execute(second, "insert into public.t select g, 2 from generate_series(21, 24) g")
    second.commit()
    execute(first, "insert into public.t select g, 1 from generate_series(11, 13) g")
    execute(first, "insert into public.t values (14, 1)")
    first.commit()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_pages_follow_the_log_where_its_numbers_fall(world: World, size: int) -> None:
    """The sequence's numbers order rows within a transaction only: nothing is lost, or twice."""
    source = world.source(T)
    cursor, _ = source.begin()
    falling_seqs(world)
    _, got, pages = drain(source, cursor, size)
    assert [action.id for action in got] == [str(n) for n in (11, 12, 13, 14, 21, 22, 23, 24)]
    assert all(page.documents <= size for page in pages)


def test_a_truncation_is_an_entry_of_its_own(world: World) -> None:
    """A page that is full of TRUNCATEs is followed by another one: what comes after arrives."""
    source = world.source(T)
    cursor, _ = source.begin()
    writer = world.session()
    for _ in range(3):
        execute(writer, "truncate public.t")
    execute(writer, "insert into public.t values (7, 1)")
    writer.commit()
    for size in (1, 2, 3):
        _, got, pages = drain(source, cursor, size)
        assert (set(state(got)), len(pages) >= 4 // size) == ({"7"}, True)


def test_a_position_in_the_middle_of_a_log_row_is_gone_on_from(world: World) -> None:
    """After a restart inside a log row its first keys are not read again."""
    cursor, _ = world.source(T).begin()
    world.run("insert into public.t select g, 1 from generate_series(1, 5) g")
    log = log_of(world, "public.t")
    ((txid, seq),) = world.rows(f"select txid, seq from {log}")
    source = world.source(T)
    until = Cursor.start(source.begin()[0].done).done
    middle = Cursor(cursor.done, Window(until, Position("t", txid, seq, 2), txid))
    assert [action.id for action in drain(source, middle, 2)[1]] == ["3", "4", "5"]


def fingerprint(world: World, table: str) -> str:
    """What describe says of a table now, on a new connection."""
    return world.source(Document(table, "x")).describe()["x"].fingerprint


def test_a_trigger_that_was_disabled_for_a_while_shows(world: World) -> None:
    """Afterwards all is as it was, but for a fingerprint that says so."""
    before = fingerprint(world, "public.t")
    world.run("alter table public.t disable trigger user")
    world.run("insert into public.t values (1, 1)")
    world.track("public.t")
    assert fingerprint(world, "public.t") != before


def test_disabled_triggers_end_a_run(world: World) -> None:
    """All triggers are there and none of them fires: nothing would ever change."""
    world.run("alter table public.t disable trigger user")
    with pytest.raises(PreconditionError, match="not captured"):
        world.source(T)


def test_tracking_again_enables_what_was_disabled(world: World) -> None:
    """All triggers are there, some of them disabled or not ALWAYS: they fire again."""
    states = (
        "select distinct tgenabled::text from pg_trigger"
        " where tgrelid = 'public.t'::regclass and tgname like 'txid%%'"
    )
    for statement in ("disable trigger user", "enable trigger user"):
        world.run(f"alter table public.t {statement}")
        world.track("public.t")
        assert world.rows(states) == [("A",)]
