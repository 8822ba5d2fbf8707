"""Two workers as processes where servers change: on a hot standby, and over a switchover."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.integration.programs import Program, program
from tests.integration.standbys import (
    DATABASE,
    PATIENCE_SECONDS,
    ROWS,
    both,
    finish_prepared,
    pair,
    writing,
)
from tests.support import eventually

pytestmark = pytest.mark.integration

__all__ = ["program"]

TWO = ("--workers", "2")
SMALL = ("-s", "pipeline.page_documents=5")


def workers(program: Program, dsn: str) -> list[dict[str, Any]]:
    """What `status` says of the workers."""
    found: list[dict[str, Any]] = program.status(dsn)["workers"]
    return found


def test_A10_B04_B06_F07_workers_on_a_standby_that_restarts_and_is_promoted(
    program: Program,
) -> None:
    """Two shares of one polled standby, beside writers, its crash and its promotion: each worker
    waits, then writes its share anew under the same epoch, and the ends are equal."""
    with pair() as (primary, standby):
        dsn = standby.dsn(DATABASE)
        standby.caught_up_with(primary)
        with program.running(dsn, "run", *TWO, *SMALL) as run:
            with writing(primary):
                eventually(lambda: len(program.documents()) > ROWS / 2, PATIENCE_SECONDS, 0.5)
                standby.kill9()
                standby.start()
                primary.ask("insert into t values (1000, 0, 'after the restart')")
                eventually(lambda: "1000" in program.documents(), PATIENCE_SECONDS, 0.5)
            finish_prepared(primary)
            standby.caught_up_with(primary)
            assert [worker["epoch"] for worker in workers(program, dsn)] == [1, 1]
            standby.promote()
            standby.ask("insert into t values (2000, 0, 'after the promotion')")
            eventually(lambda: "2000" in program.documents(), PATIENCE_SECONDS, 0.5)
            assert run.poll() is None
            run.send_signal(signal.SIGTERM)
            assert run.wait(PATIENCE_SECONDS) == 0
        program.ends_equal(standby, dsn, *TWO)
        assert [worker["epoch"] for worker in workers(program, dsn)] == [2, 2]


def test_A10_F12_a_planned_switchover_with_several_workers(program: Program) -> None:
    """Each worker's own marker proves that nothing is lost: beside the running processes no new
    epoch is taken and nothing is sent again; what comes later is sent."""
    with pair() as (primary, standby):
        either = both(primary, standby)
        program.ends_equal(primary, either, *TWO)
        with program.running(either, "run", *TWO) as run:
            ((begun,),) = primary.ask("select now()")
            primary.ask("update t set n = 1 where id <= 20")
            marked = "select count(*) from txid_sync.marker where marked_at > %s"
            eventually(lambda: primary.ask(marked, begun) == [(2,)], PATIENCE_SECONDS, 0.5)
            primary.stop("fast")
            standby.promote()
            standby.ask("delete from t where id <= 3")
            eventually(lambda: len(program.documents()) == ROWS - 3, PATIENCE_SECONDS, 0.5)
            run.send_signal(signal.SIGTERM)
            assert run.wait(PATIENCE_SECONDS) == 0
        program.ends_equal(standby, either, *TWO)
        assert program.status(either)["acknowledged_documents"] == ROWS + 20 + 3
        assert [worker["epoch"] for worker in workers(program, either)] == [1, 1]
        assert "holds the marker that was written last" in program.said()
