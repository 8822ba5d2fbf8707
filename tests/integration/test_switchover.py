"""Switchover between real servers: a standby takes over, with everything or without the last."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.standbys import DATABASE, ROWS, Server, Sync, both, pair, syncing
from txid_sync.check_source import source_points
from txid_sync.errors import PreconditionError
from txid_sync.model import Document
from txid_sync.sources.postgres import PostgresSource

pytestmark = pytest.mark.integration
READER = "reader"


@dataclass
class Switched:
    """A primary, its standby, and a syncer on whichever takes writes, as a plain role."""

    primary: Server
    standby: Server
    sync: Sync

    def promote(self, keep: bool = True) -> None:
        """The primary goes, after it has sent all (a planned switchover) or at once."""
        self.primary.stop("fast" if keep else "immediate")
        self.standby.promote()

    def figures(self) -> tuple[int, int, int]:
        """Epoch, resyncs and documents acknowledged."""
        status = self.sync.pipeline.status()
        return status.epoch, status.resyncs, status.acknowledged_documents


@pytest.fixture
def switched() -> Iterator[Switched]:
    """Rows on both servers, a syncer that marks and has come to rest."""
    with pair() as (primary, standby):
        for statement in (
            f"create role {READER} login", f"grant select on t to {READER}",
            f"select txid_sync.grant_reader('{READER}')",
        ):  # fmt: skip
            primary.ask(statement)
        with syncing(primary, user=READER) as sync:
            sync.marks = True
            sync.restart(both(primary, standby, READER))
            sync.drain()
            yield Switched(primary, standby, sync)


def test_F12_a_planned_switchover_sends_nothing_again(switched: Switched) -> None:
    """Beside a running process: epoch and counts stay, and what comes later is sent."""
    sync = switched.sync
    switched.primary.ask("update t set n = 1 where id <= 20")
    sync.drain()
    assert switched.figures() == (1, 0, ROWS + 20)
    switched.promote()
    sync.drain()
    assert switched.figures() == (1, 0, ROWS + 20)
    switched.standby.ask("update t set n = 2 where id <= 5")
    switched.standby.ask("delete from t where id = 60")
    sync.ends_equal(switched.standby)
    assert switched.figures() == (1, 0, ROWS + 26)


def test_F12_a_switchover_while_the_pipeline_is_stopped(switched: Switched) -> None:
    """Stopped in order, the next process goes on where it was, on the other server."""
    sync = switched.sync
    switched.primary.ask("update t set n = 1 where id <= 20")
    sync.drain()
    sync.pipeline.stop()
    switched.primary.ask("update t set who = 'unread' where id = 7")
    switched.promote()
    sync.restart()
    sync.ends_equal(switched.standby)
    assert switched.figures() == (1, 0, ROWS + 21)


def test_F12_a_standby_that_misses_the_last_transactions(switched: Switched) -> None:
    """What the pipeline had counted is not there: everything is written anew, and equal."""
    sync = switched.sync
    switched.standby.caught_up_with(switched.primary)
    switched.standby.cut_off()
    switched.primary.ask("insert into t values (1000, 0, 'lost')")
    switched.primary.ask("update t set who = 'lost' where id <= 10")
    sync.drain()
    assert "1000" in sync.documents()
    switched.promote(keep=False)
    for number in range(2000, 2030):  # txids are given out again
        switched.standby.ask("insert into t values (%s, 0, 'new')", number)
    sync.ends_equal(switched.standby)
    assert "1000" not in sync.documents()
    assert switched.figures()[:2] == (2, 1)


def test_F12_a_marker_after_the_failover_proves_nothing_of_the_time_before(
    switched: Switched,
) -> None:
    """The syncer is stopped when another server answers already, which lacks what was sent."""
    sync = switched.sync
    switched.standby.caught_up_with(switched.primary)
    switched.standby.cut_off()
    sync.marks = False
    sync.restart()
    sync.drain()
    sync.pipeline.stop()
    switched.primary.ask("update t set who = 'lost' where id <= 10")
    sync.marks = True
    sync.restart()
    sync.pipeline.start()
    while sync.documents()["10"]["who"] != "lost":
        sync.pipeline.step()
    switched.promote(keep=False)
    before = switched.standby.ask("select nonce from txid_sync.marker")
    sync.source.close()
    sync.pipeline.stop()
    assert switched.standby.ask("select nonce from txid_sync.marker") != before
    sync.restart()
    sync.ends_equal(switched.standby)
    assert switched.figures()[:2] == (2, 1)


def test_A01_F12_without_the_right_a_switchover_costs_a_resync(
    switched: Switched, caplog: pytest.LogCaptureFixture
) -> None:
    """`check` says so and looks at all else; a run says it once; the ends are equal."""
    sync, primary = switched.sync, switched.primary
    primary.ask(f"revoke execute on function txid_sync.mark(text, text) from {READER}")
    documents = [Document("public.t", "t")]
    points = {p.name: p for p in source_points(primary.dsn(DATABASE, READER), documents)}
    assert points["marker"].state == "WARNING"
    assert "every switchover costs" in points["marker"].detail
    assert points["document t: triggers"].state == "OK"
    with caplog.at_level(logging.WARNING, "txid_sync"):
        for n in range(3):
            primary.ask("update t set n = %s", n)
            sync.drain()
    assert len([r for r in caplog.records if "no marker is written" in r.getMessage()]) == 1
    switched.promote()
    sync.ends_equal(switched.standby)
    assert switched.figures()[:2] == (2, 1)


def test_B04_F12_a_standby_shows_the_marker_and_cannot_be_marked(
    switched: Switched, caplog: pytest.LogCaptureFixture
) -> None:
    """What the primary was marked with is read there; a move to it is a resync all the same, and a
    run neither tries to mark it nor complains."""
    sync, standby = switched.sync, switched.standby
    marker = sync.pipeline.progress.marker
    assert marker is not None
    standby.caught_up_with(switched.primary)
    ((name,),) = standby.ask("select name from txid_sync.marker")
    source = PostgresSource(standby.dsn(DATABASE, READER), [Document("public.t", "t")])
    identity, nonce = source.marker(name)
    assert (nonce, identity["role"]) == (marker.nonce, "standby")
    with pytest.raises(PreconditionError, match="during recovery"):
        source.mark(name, "x")
    source.close()
    sync.pipeline.stop()
    with caplog.at_level(logging.WARNING, "txid_sync"):
        sync.restart(standby.dsn(DATABASE, READER))
        sync.ends_equal(standby)
    assert not [r for r in caplog.records if "marker" in r.getMessage()]
    assert switched.figures()[:2] == (2, 1)
    points = {p.name: p for p in source_points(standby.dsn(DATABASE, READER), [])}
    assert "no marker can be written" in points["primary"].detail
    assert "marker" not in points
