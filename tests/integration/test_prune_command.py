"""`txid-sync prune`, and `run` that prunes by itself, as processes on real servers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.integration.cli_place import ROOT, Place, place
from tests.integration.upkeep_place import OLDER
from tests.support import eventually

pytestmark = pytest.mark.integration
__all__ = ["place"]
FAST = (
    "-s", "pipeline.prune_interval_seconds=0.2", "-s", "pipeline.save_interval_seconds=0.1",
    "-s", "pipeline.marker_interval_seconds=0",
)  # fmt: skip


@contextmanager
def running(place: Place, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`txid-sync run` for the time of the block, then SIGTERM."""
    with subprocess.Popen(
        place.command("run", *arguments), cwd=ROOT, text=True, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def log_rows(place: Place, table: str = "shop.orders") -> int:
    """How many rows a table's log holds."""
    ((log,),) = place.sql(f"select log from txid_sync.tracked where relation = '{table}'::regclass")
    return int(place.sql(f"select count(*) from txid_sync.{log}")[0][0])


@pytest.fixture
def undisturbed(place: Place) -> Iterator[None]:
    """Whatever takes txids by itself, in any database of the server, is switched off."""
    place.sql("alter system set autovacuum = off")
    place.sql("select pg_reload_conf()")
    workers = "select count(*) from pg_stat_activity where backend_type ~ '^autovacuum'"
    eventually(lambda: place.sql(workers) == [(0,)], 60)
    yield
    place.sql("alter system reset autovacuum")
    place.sql("select pg_reload_conf()")


def next_txid(place: Place) -> int:
    """The next txid of the server."""
    found = place.sql("select txid_snapshot_xmax(txid_current_snapshot())")
    return int(found[0][0])


def written(place: Place) -> dict[str, Any]:
    """What the table holds, by id."""
    return dict(place.sql("select id::text, row_to_json(o) from shop.orders o"))


@pytest.mark.usefixtures("undisturbed")
def test_a_run_prunes_by_itself_and_an_idle_one_does_nothing(place: Place) -> None:
    """The log of a busy table stays small; then no txid is taken, by hand neither."""
    place.run("init")
    with running(place, *FAST) as process:
        eventually(lambda: place.sql("select count(*) from txid_sync.readers")[0][0] == 2, 60)
        for number in range(20):
            place.sql(f"update shop.orders set note = 'note {number}'")
        eventually(lambda: log_rows(place) == 0, 60)
        eventually(lambda: place.documents("orders") == written(place), 60)
        before = next_txid(place)
        for _ in range(3):
            place.sql("select pg_sleep(0.5)")
        assert next_txid(place) == before
        process.terminate()
        said = process.communicate(timeout=60)[1]
    assert "resync" not in said.replace("0 resyncs", "") and "not pruned" not in said
    assert place.run("prune").stdout.splitlines() == [
        "shop.orders: 0 log rows deleted", "public.lines: 0 log rows deleted"
    ]  # fmt: skip
    assert next_txid(place) == before


def test_prune_by_hand_waits_for_the_pipeline(place: Place) -> None:
    """It goes by stored progress; what was not read stays, also where the sink does not answer."""
    place.run("init")
    off = ("-s", "pipeline.prune_interval_seconds=0")
    place.run("run", "--once", *off)
    place.sql("update shop.orders set note = 'a'")
    place.run("run", "--once", *off)
    assert place.sql("select * from txid_sync.readers") == []
    place.sql("update shop.orders set note = 'b'")
    assert place.run("prune").stdout.startswith("shop.orders: 1 log rows deleted\n")
    assert log_rows(place) == 1
    away = place.run("prune", "-s", "sink.url=http://127.0.0.1:9")
    assert away.stdout.startswith("shop.orders: 0 log rows deleted\n")
    assert "stays as it was noted" in away.stderr
    assert log_rows(place) == 1
    assert "resync" not in place.run("run", "--once", *off).stderr
    assert place.documents("orders") == written(place)


def test_a_pipeline_that_is_given_up_is_forgotten(place: Place) -> None:
    """After --forget nothing is kept for it; should it run after all, it writes all again."""
    place.run("init")
    place.run("run", "--once")
    place.sql("update shop.orders set note = 'unread'")
    done = place.run("prune", "--forget")
    assert "of 2 logs" in done.stderr
    assert done.stdout.startswith("shop.orders: 1 log rows deleted\n")
    assert "resync" in place.run("run", "--once").stderr
    assert place.documents("orders") == written(place)
    assert len(place.sql("select * from txid_sync.readers")) == 2


def test_an_older_schema_is_one_warning(place: Place) -> None:
    """A run goes on without pruning and says what to do; init does it."""
    place.run("init")
    place.sql(OLDER)
    place.sql("update shop.orders set note = 'a'")
    done = place.run("run", "--once", *FAST)
    (said,) = [line for line in done.stderr.splitlines() if "not pruned" in line]
    assert "txid-sync init" in said
    assert place.documents("orders") == written(place)
    assert "schema rights: FAILED" in place.run("check", code=1).stdout
    place.run("init")
    place.sql("update shop.orders set note = 'b'")
    assert "not pruned" not in place.run("run", "--once", *FAST).stderr
    assert "log rows deleted" in place.run("prune").stdout
    assert log_rows(place) == 0


@pytest.mark.usefixtures("undisturbed")
def test_a_dry_run_notes_nothing(place: Place) -> None:
    """It reads everything and leaves the database as it is."""
    place.run("init")
    before = next_txid(place)
    place.run("run", "--dry-run", *FAST)
    assert place.sql("select * from txid_sync.readers") == []
    assert next_txid(place) == before
