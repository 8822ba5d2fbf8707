"""The flaws of the system that this one takes over from, each as the schedule that showed it."""

from __future__ import annotations

import pytest

from tests.property.machine import DOCUMENTS, System
from txid_sync.errors import Discontinuity, SourceUnavailable
from txid_sync.model import Limits
from txid_sync.sources.memory_database import MemoryDatabase

ONE = Limits(documents=1)


def _system(rows: int = 0) -> System:
    system = System()
    if rows:
        for n in range(rows):
            system.write(0, "a", [(f"{n:02}",)], delete=False)
        system.end(0, "commit")
        system.drain(5)
    return system


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_A05_F01_F02_F03_pages_in_any_size_lose_nothing(size: int) -> None:
    """One transaction of many statements, some keys twice, is read in full in the log's order."""
    system = _system()
    for n in range(23):
        system.write(0, "a", [(f"{n:02}",), (f"{22 - n:02}x",)], delete=False)
    system.end(0, "commit")
    system.drain(size)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_F04_every_log_entry_is_read_once(size: int) -> None:
    """As many entries are read as were logged, whatever order the rows of the table have."""
    system = _system()
    for n in range(20):
        system.write(n % 2, "a", [(f"{19 - n:02}",)], delete=False)
    system.end(1, "commit")
    system.end(0, "commit")
    documents = 0
    while system.read(size):
        assert system.hand is not None
        documents += system.hand.page.documents
        system.send()
    assert documents == 20


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_F05_rows_without_partner_do_not_end_a_page(size: int) -> None:
    """Keys whose rows are gone count like all others: what comes after them is read."""
    system = _system(rows=9)
    for n in range(8):
        system.write(0, "a", [(f"{n:02}",)], delete=True)
    system.write(0, "a", [("08",)], delete=False)
    system.end(0, "commit")
    system.drain(size)


def test_A06_commits_out_of_order_arrive() -> None:
    """A begins, B commits and is read, A commits: A's rows arrive."""
    system = _system()
    system.write(0, "a", [("1",)], delete=False)
    system.write(1, "a", [("2",)], delete=False)
    system.end(1, "commit")
    assert system.read(1)
    system.send()
    assert not system.cursor.done.finished(3)
    system.drain(1)


def test_F13_txids_handed_out_again_are_new() -> None:
    """An unflushed abort is shown as finished, the server crashes, its txid writes: it arrives."""
    system = _system(rows=1)
    aborted = system.session(0).assign()
    system.end(0, "abort")
    assert not system.read(1)
    system.crash()
    system.source.connect()
    assert system.session(0).assign() == aborted
    system.write(0, "a", [("00",)], delete=False)
    system.drain(1)


def test_F06_a_lost_commit_never_reaches_the_sink() -> None:
    """A page that shows an unflushed commit is thrown away with the connection that read it."""
    system = _system(rows=1)
    system.write(0, "a", [("00",)], delete=False)
    system.end(0, "async")
    assert system.read(1)
    system.crash()
    system.source.connect()
    assert system.hand is not None
    with pytest.raises(SourceUnavailable):
        system.hand.page.ready()
    system.send()
    system.drain(1)


def test_F14_F15_deletes_and_key_changes_arrive() -> None:
    """A deleted key, and the old key of a changed one, leave the sink."""
    system = _system(rows=3)
    system.write(0, "a", [("00",)], delete=True)
    system.write(0, "a", [("01",)], delete=True)
    system.write(0, "a", [("99",)], delete=False)
    system.end(0, "commit")
    system.drain(1)


def test_F16_a_truncation_empties_the_index() -> None:
    """A log row without keys is a page that says so, and nothing after it is lost."""
    system = _system(rows=3)
    system.truncate(0, "a")
    system.write(0, "a", [("7",)], delete=False)
    system.end(0, "commit")
    system.drain(1)
    assert set(system.sink.documents(DOCUMENTS[0].name)) == {"7"}


def test_F17_the_version_is_that_of_the_pages_own_snapshot() -> None:
    """Each page of one window carries the clock of its own statement; the window its first."""
    system = _system(rows=2)
    system.write(0, "a", [("00",), ("01",)], delete=False)
    system.end(0, "commit")
    assert system.read(1)
    first = system.hand
    system.send()
    system.write(1, "a", [("00",)], delete=False)
    system.end(1, "commit")
    assert system.read(1)
    second = system.hand
    assert first is not None
    assert second is not None
    assert second.page.version == first.page.version + 1
    assert first.next.window is not None
    assert second.next.done.xmax <= first.next.window.until.xmax
    system.drain(1)


def test_F23_an_old_page_never_overwrites_a_newer_one() -> None:
    """Two syncers at once: the slower one's page is refused by its version, and both end equal."""
    system = _system(rows=1)
    system.write(0, "a", [("00",)], delete=False)
    system.end(0, "commit")
    old = system.source.poll(system.cursor, 1, ONE).page
    system.write(0, "a", [("00",)], delete=True)
    system.end(0, "commit")
    system.drain(1)
    assert old is not None
    assert old.page.ready()
    system.sink.submit(old.page).result(0)
    system.check_equal()


def test_F24_empty_polls_do_not_move_the_cursor() -> None:
    """However many transactions without rows end, the cursor's text stays the same."""
    system = _system(rows=1)
    before = system.cursor.to_json()
    for how in ("abort", "async", "commit"):
        system.session(0).assign()
        system.end(0, how)
        assert not system.read(1)
    assert system.cursor.to_json() == before


def test_A02_a_poll_assigns_no_txid() -> None:
    """A hundred idle polls, a load and a look-up leave the snapshot as it was."""
    system = _system(rows=1)
    before = system.database.snapshot()
    for _ in range(100):
        assert not system.read(1)
    system.source.load(DOCUMENTS[0].name, None, 1, ONE)
    system.source.lookup(DOCUMENTS[0].name, ["00", "x"], 1)
    assert system.database.snapshot() == before


def test_F08_a_cursor_ahead_of_the_source_is_refused() -> None:
    """A source whose txids are below those done is not followed."""
    system = _system(rows=5)
    other = System()
    with pytest.raises(Discontinuity):
        other.source.poll(system.cursor, 1, ONE)


def test_pruning_unread_rows_is_noticed_and_pruning_read_ones_is_not() -> None:
    """A mark below what is done changes nothing; one above it ends the walk, in a window too."""
    system = _system(rows=3)
    system.database.prune("a", system.cursor.done.lowest_open)
    assert not system.read(1)
    for n in range(3):
        system.write(0, "a", [(str(n),)], delete=False)
        system.end(0, "commit")
    assert system.read(1)
    system.send()
    system.database.prune("a", 10**6)
    with pytest.raises(Discontinuity):
        system.read(1)


def test_a_fresh_cursor_is_never_overtaken() -> None:
    """Pruning stops below running transactions, so a cursor that begins now can be followed."""
    system = _system()
    system.write(0, "a", [("old",)], delete=False)
    for n in range(3):
        system.write(1, "a", [(str(n),)], delete=False)
        system.end(1, "commit")
    system.database.prune("a", 10**6)
    cursor, _ = system.source.begin()
    system.source.poll(cursor, 1, ONE)


def test_prepared_transactions_survive_a_crash() -> None:
    """A prepared transaction stays in xip over a crash, and arrives once it commits."""
    system = _system(rows=1)
    system.write(0, "a", [("00",)], delete=False)
    system.sessions.pop(0).prepare("p")
    system.crash()
    system.source.connect()
    assert not system.read(1)
    system.database.commit_prepared("p")
    system.note_commits()
    assert system.read(1)
    system.send()
    system.drain(1)


def test_savepoints_take_txids_and_the_log_carries_the_top_one() -> None:
    """As in PostgreSQL: a savepoint's txid raises xmax at once when it is rolled back."""
    database = MemoryDatabase("a")
    session = database.connect()
    session.begin()
    top = session.assign()
    session.savepoint("s")
    session.write("a", {("1",): "{}"})
    session.rollback_to("s")
    assert str(database.snapshot()) == f"{top}:{top + 2}:{top}"
    session.savepoint("t")
    session.write("a", {("2",): "{}"})
    session.commit()
    (row,) = database.log("a", database.snapshot())
    assert (row.txid, row.keys) == (top, (("2",),))
    assert str(database.snapshot()) == f"{top + 4}:{top + 4}:"
