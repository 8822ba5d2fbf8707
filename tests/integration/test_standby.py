"""A hot standby as the source, on real servers: what it hides, how it falls back, its promotion."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.integration.standbys import (
    DATABASE,
    PATIENCE_SECONDS,
    ROWS,
    Server,
    Sync,
    finish_prepared,
    identity_of,
    pair,
    syncing,
    work,
    writing,
)
from tests.support import eventually
from txid_sync.check_source import source_points
from txid_sync.errors import PreconditionError, SourceBehind, SourceUnavailable, Unavailable
from txid_sync.model import Limits
from txid_sync.sources.postgres_standby import Standby

ROOT = Path(__file__).resolve().parents[2]


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
    """Long transactions, savepoints, rollbacks, two-phase commits: the ends are equal, and nothing
    had to be written again."""
    with pair() as (primary, standby), syncing(standby, size=3) as sync:
        with writing(primary) as writers:
            eventually(
                lambda: work(sync, 1.0) or all(w.committed > 5 for w in writers), PATIENCE_SECONDS
            )
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


def test_F07_a_wal_receiver_that_ends_and_comes_back_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A restarted standby's receiver ends between two statements, and is back before anything
    else is asked: the timeline was not known for a moment, which is no other history."""
    with pair() as (primary, standby), syncing(standby) as sync:
        sync.ends_equal(primary)
        standby.kill9()
        standby.start()
        eventually(standby.receives, PATIENCE_SECONDS)
        sync.source.close()
        sync.source.connect()
        standby.cut_off()
        monkeypatch.setattr(sync.source, "close", lambda: standby.joined_again(primary))
        with pytest.raises(SourceBehind, match="WAL receiver does not run"):
            sync.pipeline.step()
        monkeypatch.undo()
        standby.joined_again(primary)
        primary.ask("delete from t where id = 1")
        standby.caught_up_with(primary)
        sync.ends_equal(primary)
        assert (sync.epoch, sync.pipeline.status().resyncs) == (1, 0)


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


def test_B04_B06_F07_promotion_in_the_middle_of_a_window() -> None:
    """The polled standby is promoted between two pages, the connection kept: what it reads then is
    not taken for a standby's, and the ends are equal on the promoted server."""
    with pair() as (primary, standby), syncing(standby, size=2) as sync:
        sync.ends_equal(primary)
        with writing(primary):
            work(sync, 1.5)
        finish_prepared(primary)
        primary.ask("update t set n = n + 7")
        standby.caught_up_with(primary)
        pages = iter(range(100))

        def promote() -> None:
            if next(pages) == 2:
                primary.kill9()
                standby.promote()
                standby.ask("update t set who = 'promoted' where id <= 20")

        sync.before_page = promote
        sync.drain()
        assert next(pages) > 3, "the promotion did not fall into the window"
        with writing(standby):
            work(sync, 1.5)
        sync.ends_equal(standby)
        assert sync.epoch == 2
        assert "role" not in identity_of(sync)


@pytest.mark.parametrize("what", ["poll", "load", "lookup"])
def test_B04_F07_a_page_read_after_the_promotion_is_thrown_away(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The promotion comes between the question what is in progress and the page."""
    with pair() as (primary, standby), syncing(standby) as sync:
        sync.ends_equal(primary)
        primary.ask("update t set n = 5 where id = 5")
        standby.caught_up_with(primary)
        original = Standby.look

        def look(self: Standby) -> None:
            original(self)
            monkeypatch.setattr(Standby, "look", original)
            standby.promote()

        monkeypatch.setattr(Standby, "look", look)
        read = {
            "poll": lambda: sync.source.poll(sync.pipeline.progress.cursor, 1, Limits()),
            "load": lambda: sync.source.load("t", None, 1, Limits()),
            "lookup": lambda: sync.source.lookup("t", ["1"], 1),
        }
        with pytest.raises(SourceUnavailable, match="promoted"):
            read[what]()
        sync.ends_equal(standby)
        assert sync.epoch == 2


def test_B06_F08_F12_the_standby_that_had_received_less_is_promoted() -> None:
    """The polled standby and the primary are lost, one that misses their last transactions is
    promoted and gives their txids out again: what it never had is removed."""
    with pair() as (primary, polled), Server(primary) as heir, syncing(polled) as sync:
        with writing(primary):
            work(sync, 1.5)
        finish_prepared(primary)
        heir.caught_up_with(primary)
        heir.cut_off()
        for number in range(20):
            primary.ask("update t set n = 1000, who = 'lost' where id = %s", number)
        primary.ask("insert into t values (-1, 0, 'phantom')")
        polled.caught_up_with(primary)
        sync.ends_equal(polled)
        assert sync.documents()["-1"]["who"] == "phantom"
        primary.kill9()
        polled.kill9()
        heir.promote()
        for number in range(30):
            heir.ask("update t set n = 2000, who = 'heir' where id = %s", number)
        sync.restart(heir.dsn(DATABASE))
        sync.ends_equal(heir)
        assert sync.epoch == 2


def test_B04_a_move_from_the_primary_to_a_standby_and_back() -> None:
    """The role of the server is part of the identity: each move writes everything again."""
    with pair() as (primary, standby), syncing(primary) as sync:
        for epoch, server in ((1, primary), (2, standby), (3, primary)):
            sync.restart(server.dsn(DATABASE))
            with writing(primary):
                work(sync, 1.0)
            finish_prepared(primary)
            standby.caught_up_with(primary)
            sync.ends_equal(primary)
            assert sync.epoch == epoch


def test_A01_F07_a_plain_role_resyncs_when_the_standby_restarts() -> None:
    """A role that may not see the WAL receiver cannot tell one standby from another: after a
    restart it begins anew; with pg_monitor it goes on."""
    with pair() as (primary, standby):
        for statement in (
            "create role plain login", "grant select on t to plain",
            "select txid_sync.grant_reader('plain')",
        ):  # fmt: skip
            primary.ask(statement)
        standby.caught_up_with(primary)
        with syncing(standby, user="plain") as sync:
            for epoch, grant in ((1, ""), (2, "grant pg_monitor to plain"), (2, "")):
                with writing(primary):
                    work(sync, 1.0)
                finish_prepared(primary)
                if grant:
                    assert identity_of(sync)["timeline"] == ""
                    primary.ask(grant)
                standby.caught_up_with(primary)
                sync.ends_equal(primary)
                assert sync.epoch == epoch
                standby.restart()


def test_a_recovery_conflict_halves_the_page_and_is_retried() -> None:
    """Vacuum on the primary cancels what the standby reads; the ends are equal all the same."""
    with (
        pair(max_standby_streaming_delay=0, hot_standby_feedback=False) as (primary, standby),
        syncing(standby, size=40) as sync,
    ):
        primary.ask("alter table t set (autovacuum_enabled = false)")
        stop = threading.Event()

        def vacuum() -> None:
            while not stop.wait(0.01):
                primary.ask("vacuum (freeze, truncate off) t")

        thread = threading.Thread(target=vacuum)
        thread.start()
        try:
            with writing(primary):
                work(sync, 3.0)
        finally:
            stop.set()
            thread.join()
        standby.caught_up_with(primary)
        sync.ends_equal(primary)
        assert sync.epoch == 1


def test_F08_a_log_of_another_cluster_is_not_emptied_through_a_standby() -> None:
    """A standby cannot bind a restored log anew: the run stops and says what to do."""
    with pair() as (primary, standby), syncing(standby) as sync:
        primary.ask("update txid_sync.tracked set system_identifier = 1")
        standby.caught_up_with(primary)
        with pytest.raises(PreconditionError, match="written by another cluster") as raised:
            sync.pipeline.start()
        assert "on the primary" in raised.value.hint


def test_W09_check_tells_what_a_standby_means() -> None:
    """`check` passes on a standby and names what it costs; with pg_monitor it costs less."""
    with pair(hot_standby_feedback=True) as (primary, standby):
        primary.ask("create role plain login")
        standby.caught_up_with(primary)
        dsn = standby.dsn(DATABASE, "plain")
        found = {point.name: point for point in source_points(dsn, [])}
        assert found["primary"].state == "WARNING"
        assert "target_session_attrs=read-write" in found["primary"].fix
        assert found["timeline"].fix == "grant pg_read_all_stats to plain"
        assert "hot_standby_feedback" not in found
        primary.ask("grant pg_read_all_stats to plain")
        standby.caught_up_with(primary)
        assert "timeline" not in {point.name for point in source_points(dsn, [])}
        found = {point.name: point for point in source_points(primary.dsn(DATABASE), [])}
        assert found["primary"].state == "OK"


def test_F07_a_run_of_the_program_on_a_standby(tmp_path: Path) -> None:
    """`run --once --dry-run` reads a standby to its end."""
    with pair() as (primary, standby):
        standby.caught_up_with(primary)
        config = tmp_path / "c.toml"
        dsn = standby.dsn(DATABASE)
        config.write_text(f'source.dsn = "{dsn}"\ndocument = [{{ table = "public.t" }}]\n')
        done = subprocess.run(
            [sys.executable, "-m", "txid_sync", "run", "--once", "--dry-run", "-c", str(config)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{ROWS} documents written in all" in done.stderr
