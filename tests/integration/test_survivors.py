"""Rules of the source that only show at a boundary: each test ends a small mutation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from operator import eq
from typing import Any, cast

import psycopg2
import pytest

from tests.integration.streams import World, actions, drain, execute, two_tables
from txid_sync.errors import PreconditionError, SourceUnavailable, TxidSyncError
from txid_sync.model import Document, Limits, Page
from txid_sync.snapshot import Snapshot
from txid_sync.sources import postgres_errors, postgres_rows, postgres_session

T, U = Document("public.t", "t"), Document("public.u", "u")


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """Two tracked tables with a number as key."""
    with two_tables(database) as world:
        yield world


@pytest.mark.integration
def test_F05_a_page_is_full_by_its_log_entries(world: World) -> None:
    """A key that is twice in a page is one document and two entries: what follows is read."""
    source = world.source(T)
    cursor, _ = source.begin()
    writer = world.session()
    for id, v in ((1, 1), (1, 2), (2, 1), (3, 1)):
        execute(writer, "insert into public.t values (%s, %s) on conflict (id)"
                " do update set v = excluded.v", id, v)  # fmt: skip
    writer.commit()
    _, got, pages = drain(source, cursor, 2)
    assert [page.documents for page in pages[:2]] == [1, 2]
    assert [action.id for action in got] == ["1", "2", "3"]


@pytest.mark.integration
def test_an_idle_answer_is_of_one_cursor_only(world: World) -> None:
    """After a poll without news an older cursor, polled at the same moment, has its page."""
    source = world.source(T)
    old, _ = source.begin()
    world.run("insert into public.t values (1, 1)")
    new, _, _ = drain(source, old)
    assert source.poll(new, 1, Limits()).page is None
    assert source.poll(old, 1, Limits()).page is not None


@pytest.mark.integration
def test_a_mark_of_another_cluster_is_no_gap(world: World) -> None:
    """A prune mark that another cluster left says nothing about this one's log."""
    source = world.source(T)
    cursor, _ = source.begin()
    world.run("update txid_sync.tracked set system_identifier = 7, pruned_txid = 1000000000")
    world.run("insert into public.t values (1, 1)")
    assert [action.id for action in drain(source, cursor)[1]] == ["1"]


@pytest.mark.integration
def test_the_log_of_another_cluster_is_gone_after_the_first_cursor(world: World) -> None:
    """Its txids mean nothing here; the table's entry names this cluster from now on."""
    world.run("insert into public.t values (1, 1)")
    world.run("update txid_sync.tracked set system_identifier = 7")
    world.source(T).begin()
    (log,) = world.rows("select log::text from txid_sync.tracked"
                        " where relation = 'public.t'::regclass")  # fmt: skip
    assert world.rows(f"select count(*) from txid_sync.{log[0]}") == [(0,)]


@pytest.mark.integration
def test_an_open_window_without_rows_is_closed(world: World) -> None:
    """A window whose rows were pruned ends with an empty page, and what comes later arrives."""
    source = world.source(T)
    cursor, _ = source.begin()
    reading = source.poll(cursor.open(cursor.done), 1, Limits())
    assert reading.page is not None and reading.page.page.documents == 0
    assert reading.page.next == cursor
    world.run("insert into public.t values (1, 1)")
    assert [action.id for action in drain(source, reading.page.next)[1]] == ["1"]


@pytest.mark.integration
def test_a_window_goes_on_in_its_second_table(world: World) -> None:
    """After a restart the tables before the position are not read again."""
    source = world.source(T, U)
    cursor, _ = source.begin()
    world.run("insert into public.t values (1, 1)")
    world.run("insert into public.u values (11, 1), (12, 1)")
    seen = []
    for _ in range(10):
        page = world.source(T, U).poll(cursor, 1, Limits(documents=1)).page
        if page is None:
            break
        seen += [action.id for action in actions(page.page)]
        cursor = page.next
    assert (seen, cursor.window) == (["1", "11", "12"], None)


@pytest.mark.integration
def test_the_first_cursor_waits_for_the_gate(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first snapshot shows is durable before anything is built upon it."""
    source, asked = world.source(T), list[str]()

    def flushed(session: postgres_session.Session, lsn: str) -> bool:
        assert session.connected
        asked.append(lsn)
        return len(asked) == 3

    monkeypatch.setattr(postgres_session.Session, "flushed", flushed)
    cursor, clock = source.begin()
    assert (len(asked), Snapshot.parse(str(cursor.done)).clock) == (3, clock)


class Refused(psycopg2.Error):
    """An error as the server tells it."""

    pgcode = ""


@pytest.mark.parametrize(
    ("code", "kind"),
    [(c, SourceUnavailable) for c in ("08006", "40001", "53300", "57P01", "57P02", "57P03")]
    + [(c, PreconditionError) for c in ("42501", "42703", "28000")],
)  # fmt: skip
def test_what_an_error_of_the_source_means(code: str, kind: type[TxidSyncError]) -> None:
    """A server that stops, starts or is full comes back; a missing right does not."""
    error = type("Told", (Refused,), {"pgcode": code})("why")
    assert type(postgres_errors.translate(error, "read")) is kind


class StuckSession:
    """A session whose server flushes only when it is made to."""

    generation, forced = 1, 0

    def flushed(self, lsn: str) -> bool:
        """Whether it was forced."""
        return bool(lsn and self.forced)

    def force_flush(self) -> None:
        """Count."""
        self.forced += 1


def test_the_gate_forces_the_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing else flushes, the gate has it done, once, and passes."""
    session = StuckSession()
    gate = postgres_session.Gate(cast("postgres_session.Session", session), "0/1")
    assert gate() is False
    monkeypatch.setattr(postgres_session, "FORCE_AFTER_SECONDS", -1.0)
    assert [gate() for _ in range(3)] == [False, True, True]
    assert session.forced == 1


def test_joined_lookups_have_the_last_gate_and_the_greatest_version() -> None:
    """The last page's WAL position lies behind all others."""
    pages = [Page("a", b"", 1, v, ready=partial(eq, v, 7)) for v in (6, 7)]
    joined = postgres_rows._joined(pages)
    assert (joined.version, joined.documents, joined.ready()) == (7, 2, True)


def test_a_condition_that_takes_a_txid_is_refused(world: World) -> None:
    """Else every idle page would be a transaction of its own."""
    world.run("insert into public.t values (1, 1)")
    source = world.source(Document("public.t", "t", where="txid_current() > 0"))
    with pytest.raises(PreconditionError, match="assigned a transaction id"):
        source.load("t", None, 1, Limits())
