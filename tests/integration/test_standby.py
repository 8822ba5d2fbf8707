"""A hot standby as the source, on real servers: what it hides, how it falls back, its promotion."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.standbys import (
    DATABASE,
    Server,
    Sync,
    finish_prepared,
    identity_of,
    prepare,
    syncing,
    writing,
)
from tests.support import eventually
from txid_sync.errors import SourceBehind, Unavailable

SECONDS = 4.0


@contextlib.contextmanager
def pair(**settings: object) -> Iterator[tuple[Server, Server]]:
    """A primary with the table, and its standby."""
    with Server() as primary:
        prepare(primary)
        with Server(primary, **settings) as standby:
            yield primary, standby


def work(sync: Sync, seconds: float = SECONDS) -> None:
    """Step for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not sync.step():
            time.sleep(0.005)


def waits(sync: Sync) -> str:
    """Why the syncer waits for the standby; whatever else fails before is tried again."""
    for _ in range(50):
        try:
            if sync.pipeline.started:
                sync.pipeline.recover_and_step()
            else:
                sync.pipeline.start()
        except SourceBehind as error:
            return error.message
        except Unavailable:
            continue
    raise AssertionError("it does not wait")


def test_F07_what_a_standby_hides_is_waited_for() -> None:
    """Transactions that a standby's snapshot shows as finished, but are not, are delivered later:
    plain, with more than 64 savepoints, and prepared ones."""
    with pair() as (primary, standby), syncing(standby) as sync, contextlib.ExitStack() as closing:
        sync.ends_equal(standby)
        sessions = [
            closing.enter_context(contextlib.closing(primary.connect(DATABASE))) for _ in range(3)
        ]
        for number, session in enumerate(sessions):
            cursor = session.cursor()
            cursor.execute("begin")
            cursor.execute("update t set n = 100 where id = %s", (number + 1,))
        for n in range(100):
            sessions[1].cursor().execute(f"savepoint s{n}; update t set n = n + 1 where id = 2")
        sessions[2].cursor().execute("prepare transaction 'p'")
        primary.ask("update t set n = 50 where id = 9")
        standby.caught_up_with(primary)
        (printed,) = standby.ask("select txid_current_snapshot()::text")[0]
        assert printed.endswith(":"), "this standby shows what is in progress"
        sync.ends_equal(standby)
        assert sync.documents()["9"]["n"] == 50
        assert len(sync.pipeline.progress.cursor.done.xip) >= 3
        for session in sessions[:2]:
            session.cursor().execute("commit")
        sessions[2].cursor().execute("commit prepared 'p'")
        standby.caught_up_with(primary)
        sync.ends_equal(standby)
        found = {id: document["n"] for id, document in sync.documents().items()}
        assert (found["1"], found["2"], found["3"]) == (100, 200, 100)
        assert sync.epoch == 1


def test_F07_writers_beside_a_polled_standby() -> None:
    """Long transactions, savepoints, rollbacks, two-phase commits: the ends are equal, versions
    never fall, and no idle poll takes a txid on the primary."""
    with pair() as (primary, standby), syncing(standby, size=3) as sync:
        with writing(primary) as writers:
            work(sync)
        assert all(writer.committed > 5 for writer in writers)
        standby.caught_up_with(primary)
        sync.ends_equal(primary)
        assert sync.epoch == 1
        assert sync.pipeline.status().resyncs == 0
        assert identity_of(sync)["role"] == "standby"


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_B05_B06_a_standby_restarts_beside_writers(how: Any) -> None:
    """The standby restarts, or is killed, while it is polled: waited for, and no resync."""
    with pair() as (primary, standby), syncing(standby, size=3) as sync:
        with writing(primary):
            for _ in range(2):
                work(sync, 1.5)
                standby.kill9() if how == "kill" else standby.stop(how)
                standby.start()
            work(sync, 1.5)
        standby.caught_up_with(primary)
        sync.ends_equal(primary)
        assert sync.epoch == 1, identity_of(sync)


def test_F07_a_standby_that_comes_back_behind_is_waited_for() -> None:
    """A killed standby answers before it has replayed what it had shown: nothing is read until it
    has, by the same process and by another one."""
    with pair(checkpoint_timeout="1h") as (primary, standby), syncing(standby) as sync:
        sync.ends_equal(primary)
        for number in range(30):
            primary.ask("update t set n = %s where id = 1", number)
        standby.caught_up_with(primary)
        sync.ends_equal(primary)
        shown = sync.pipeline.progress
        standby.configure(recovery_min_apply_delay="1h")
        standby.kill9()
        standby.start()
        assert standby.rows()["1"]["n"] < 29, "it did not come back behind"
        for _ in range(2):
            assert "waiting: the standby has replayed up to" in waits(sync)
            assert sync.documents()["1"]["n"] == 29
            sync.restart()
        standby.configure(recovery_min_apply_delay=0)
        standby.reload()
        primary.ask("update t set n = 1000 where id = 2")
        standby.caught_up_with(primary)
        sync.ends_equal(primary)
        assert sync.epoch == shown.epoch


def test_F07_another_standby_that_lags_is_waited_for() -> None:
    """A syncer that moves to a standby of the same timeline, which has replayed less, waits."""
    with pair() as (primary, standby), Server(primary) as other, syncing(standby) as sync:
        sync.ends_equal(primary)
        other.caught_up_with(primary)
        other.ask("select pg_wal_replay_pause()")
        eventually(lambda: other.ask("select pg_get_wal_replay_pause_state()")[0][0] == "paused")
        with writing(primary):
            work(sync, 2.0)
        standby.caught_up_with(primary)
        sync.ends_equal(primary)
        sync.restart(other.dsn(DATABASE))
        assert "waiting: the standby has replayed up to" in waits(sync)
        assert sync.documents() == primary.rows()
        other.ask("select pg_wal_replay_resume()")
        with writing(primary):
            work(sync, 2.0)
        other.caught_up_with(primary)
        sync.ends_equal(primary)
        assert sync.epoch == 1


def test_F07_a_cascading_standby() -> None:
    """A standby of a standby is polled; the one between is promoted: it follows, and the timeline
    that changes under the same server costs no resync."""
    with pair() as (primary, middle), Server(middle) as last, syncing(last, size=3) as sync:
        with writing(primary):
            work(sync, 2.0)
        last.caught_up_with(primary)
        sync.ends_equal(primary)
        primary.stop()
        middle.promote()
        finish_prepared(middle)
        with writing(middle):
            work(sync, 3.0)
        last.caught_up_with(middle)
        sync.ends_equal(middle)
        assert sync.epoch == 1
        assert identity_of(sync)["timeline"] == "00000002"


@pytest.mark.parametrize("lossy", [False, True], ids=["clean", "lossy"])
def test_B04_B06_F07_promotion_in_the_middle_of_a_window(lossy: bool) -> None:
    """The polled standby is promoted between two pages, the connection kept: what it reads then is
    not taken for a standby's, and the ends are equal on the promoted server."""
    with pair() as (primary, standby), syncing(standby, size=2) as sync:
        sync.ends_equal(primary)
        with writing(primary):
            work(sync, 1.5)
        finish_prepared(primary)
        standby.caught_up_with(primary)
        if lossy:
            standby.ask("select pg_wal_replay_pause()")
            primary.ask("update t set n = n + 1")
        primary.ask("update t set n = n + 7")
        if not lossy:
            standby.caught_up_with(primary)
        pages = iter(range(100))

        def promote() -> None:
            if next(pages) == 2:
                primary.kill9()
                if lossy:
                    standby.stop("immediate")
                    standby.configure(primary_conninfo="")
                    standby.start()
                standby.promote()
                standby.ask("update t set who = 'promoted' where id <= 20")

        sync.before_page = promote
        if lossy:
            promote(), promote(), promote()
        sync.drain()
        assert next(pages) > 3, "the promotion did not fall into the window"
        with writing(standby):
            work(sync, 1.5)
        sync.ends_equal(standby)
        assert sync.epoch == 2
        assert "role" not in identity_of(sync)
