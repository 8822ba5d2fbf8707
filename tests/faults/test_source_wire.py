"""The wire to PostgreSQL under fault: cut, half-open or slow, at every kind of statement."""

from __future__ import annotations

import pytest

from tests.faults.place import Place
from tests.faults.proxy import CUT_ANSWER, CUT_REQUEST, DELAY, HALF_OPEN
from tests.support import eventually
from txid_sync.errors import SourceUnavailable
from txid_sync.model import Document
from txid_sync.sources import postgres_session
from txid_sync.sources.postgres_session import Session

BEYOND_SECONDS = 4.0  # longer than the deadline of a page and the limit for an answer
ROWS = 200
STATEMENTS = {
    "pin": b"set default_transaction_isolation",
    "catalog": b"as weak",
    "load": b"null::bigint as pruned_txid",
    "gate": b"pg_current_wal_flush_lsn",
    "poll": b"select txid_current_snapshot()::text as snapshot, identity",
    "probe": b"array_remove(array",
    "page": b"as truncated",
}


@pytest.mark.parametrize(
    ("kind", "count"),
    [(CUT_REQUEST, 20), (CUT_ANSWER, 0), (CUT_ANSWER, 40), (HALF_OPEN, 0), (DELAY, 0)],
)
def test_B05_every_statement_meets_a_fault(place: Place, kind: str, count: int) -> None:
    """Each statement once is cut, swallowed or late: the daemon connects again, all arrives."""
    place.fill(ROWS)
    with place.running() as daemon:
        eventually(lambda: daemon._pipeline.started, 30)
        faults = {
            name: place.postgres.arm(kind, match, bytes=count, seconds=BEYOND_SECONDS)
            for name, match in STATEMENTS.items()
        }
        place.world.run("alter table public.t add column extra int default 7")
        place.postgres.cut()
        place.change()
        eventually(lambda: all(fault.struck.is_set() for fault in faults.values()), 90)
    place.run_once()
    place.assert_equal()


def test_B05_a_half_open_connection_is_noticed(place: Place) -> None:
    """A question that nobody answers, at the connect or later, ends as SourceUnavailable."""
    session = Session(place.dsn)
    place.postgres.arm(HALF_OPEN)
    with pytest.raises(SourceUnavailable):
        session.connect()
    assert place.postgres.holding == 1  # nothing but our own patience has ended it
    session.connect()
    place.postgres.arm(HALF_OPEN, b"lost")
    with pytest.raises(SourceUnavailable):
        session.row("select 'lost' as answer")
    assert place.postgres.holding == 2
    assert not session.connected
    session.connect()
    assert session.row("select 'found' as answer") == {"answer": "found"}
    session.close()


def test_F20_a_page_that_takes_too_long_is_read_in_parts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """statement_timeout strikes pages of slow rows, in load and stream: smaller ones arrive."""
    monkeypatch.setattr(postgres_session, "STATEMENT_TIMEOUT_SECONDS", 0.8)
    place.document = Document("public.t", place.document.index, where="pg_sleep(0.03) is not null")
    place.fill(100)
    place.run_once(size=100)
    place.change()
    pipeline = place.run_once(size=100)
    place.assert_equal()
    assert pipeline.status().dead_letters == 0
