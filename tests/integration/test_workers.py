"""Workers as processes on real servers: beside writers, killed, in changing numbers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_place import ROOT, Place, place
from tests.integration.test_processes import assert_equal, environment
from tests.support import eventually
from txid_sync.errors import ExitCode
from txid_sync.share import Share

pytestmark = pytest.mark.integration

__all__ = ["place"]

PATIENCE_SECONDS = 120.0
SMALL = ["-s", "pipeline.page_documents=20", "-s", "pipeline.save_interval_seconds=0.1"]
ORDERS = "insert into shop.orders select i, 'new' from generate_series({n}, {n} + 20) i"
LINES = "insert into lines select {n}, 'a,b' || i, i from generate_series(0, 9) i"
CHANGES = (
    f"{ORDERS} on conflict (id) do update set note = excluded.note || ' {{n}}'",
    "delete from shop.orders where id between {n} and {n} + 10",
    f"{LINES} on conflict (order_id, line) do update set amount = 1 + {{n}}",
    "delete from lines where order_id = {n}",
    "delete from shop.orders where id = -{n}; update shop.orders set id = -id where id = {n}",
)


@contextmanager
def writing(place: Place, seed: int) -> Iterator[None]:
    """A writer beside; some of its transactions are rolled back."""
    stop = threading.Event()
    chance = random.Random(seed)

    def write() -> None:
        connection = place.database.connect(autocommit=False)
        while not stop.wait(chance.random() / 50):
            with connection.cursor() as cursor:
                for _ in range(chance.randint(1, 3)):
                    n = chance.randint(1, 80)
                    cursor.execute(chance.choice(CHANGES).format(n=n))
            if chance.random() < 0.1:
                connection.rollback()
            else:
                connection.commit()
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def running(place: Place, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run in the background, killed in the end if it still runs."""
    with (place.folder / "log").open("ab") as log:
        process = subprocess.Popen(
            place.command("run", *SMALL, *arguments), cwd=ROOT, stderr=log, stdout=log,
            stdin=subprocess.DEVNULL, env=environment(),
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def children(pid: int) -> list[int]:
    """The processes of a parent."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def _all_ended(pids: list[int]) -> bool:
    return not any(map(alive, pids))


def status(place: Place) -> dict[str, Any]:
    """What `status` says."""
    told: dict[str, Any] = json.loads(place.run("status", "--json").stdout)
    return told


def workers(place: Place) -> list[dict[str, Any]]:
    """What it says of the workers."""
    found: list[dict[str, Any]] = status(place)["workers"]
    return found


def written(place: Place) -> int:
    """How many documents all workers have written in all; 0 before there is progress."""
    return min((worker["acknowledged_documents"] for worker in workers(place)), default=0)


def test_A10_workers_beside_writers_killed_and_changed(place: Place, seed: int) -> None:
    """2 workers, killed; 3 workers beside those of the old number; then one process: equal."""
    place.run("init")
    place.sql("insert into shop.orders select i, 'x' from generate_series(6, 300) i")
    with writing(place, seed):
        with running(place, "--workers", "2") as two:
            eventually(lambda: written(place) > 50, PATIENCE_SECONDS)
            os.kill(children(two.pid)[0], signal.SIGKILL)
            assert two.wait(timeout=PATIENCE_SECONDS) == ExitCode.WORKER_KILLED
        told = (place.folder / "log").read_text()
        assert "has ended by SIGKILL, so all were stopped" in told
        with running(place, "--worker", "1/2") as old, running(place, "--workers", "3") as three:
            assert old.wait(timeout=PATIENCE_SECONDS) == ExitCode.TAKEN_OVER
            eventually(lambda: len(workers(place)) == 3, PATIENCE_SECONDS)
            eventually(lambda: written(place) > 50, PATIENCE_SECONDS)
            orphans = children(three.pid)
            three.kill()
            three.wait()
            eventually(lambda: not any(map(alive, orphans)), PATIENCE_SECONDS)
        with running(place) as one:
            eventually(lambda: status(place)["workers"] == [], PATIENCE_SECONDS)
            one.send_signal(signal.SIGTERM)
            assert one.wait(timeout=PATIENCE_SECONDS) == 0
    place.run("run", "--workers", "2", "--once")
    assert_equal(place)
    assert status(place)["epoch"] == 1  # nobody had to resync
    assert "no difference" in place.run("verify").stderr


def test_a_signal_stops_all_workers(place: Place) -> None:
    """Each finishes and saves; the parent ends with 0 when all have."""
    place.run("init")
    for number in (signal.SIGTERM, signal.SIGINT):
        with running(place, "--workers", "3") as process:
            eventually(lambda: len(children(process.pid)) == 3, PATIENCE_SECONDS)
            eventually(lambda: written(place) > 0 or status(place)["started"], PATIENCE_SECONDS)
            processes = children(process.pid)
            process.send_signal(number)
            assert process.wait(timeout=PATIENCE_SECONDS) == 0
            assert not any(map(alive, processes))
    place.run("run", "--workers", "3", "--once")
    assert_equal(place)


def test_why_workers_ended_is_said_once(place: Place) -> None:
    """Without init each says what is missing; the parent has their exit code."""
    told = place.run("run", "--workers", "2", "--once", code=ExitCode.PRECONDITION).stderr
    assert "has ended with exit code 5, so all were stopped" in told
    assert "txid-sync init" in told


@pytest.mark.parametrize(
    "arguments", [["--worker", "3/2"], ["--worker", "x"], ["--worker", "1/2", "--workers", "2"],
                  ["--workers", "0"], ["--workers", "129"]],
)  # fmt: skip
def test_wrong_workers_are_refused(place: Place, arguments: list[str]) -> None:
    """Exit code 2 and one clear line."""
    assert "rror: " in place.run("run", *arguments, code=ExitCode.USAGE).stderr


def test_commands_know_of_workers(place: Place) -> None:
    """status, prune, explain, verify, resync and uninstall look at all of them."""
    place.run("init")
    place.sql("insert into shop.orders select i, 'x' from generate_series(6, 60) i")
    place.run("run", "--workers", "3", "--once")
    found = status(place)
    assert [worker["worker"] for worker in found["workers"]] == ["1/3", "2/3", "3/3"]
    assert found["acknowledged_documents"] == 62
    assert "worker  transactions behind" in place.run("status").stdout
    readers = "select distinct split_part(reader, '/', 2) from txid_sync.readers order by 1"
    assert place.sql(readers) == [("1of3",), ("2of3",), ("3of3",)]
    place.sql("update shop.orders set note = 'y'")
    assert "transaction" in place.run("explain", "shop.orders", "7", code=1).stdout
    done = next(share for share in Share.all(3) if share.holds("7"))
    place.run("run", "--worker", str(done), "--once")
    assert "both sides agree" in place.run("explain", "shop.orders", "7").stdout
    other = next(str(n) for n in range(1, 60) if not done.holds(str(n)))
    assert "has not written" in place.run("explain", "shop.orders", other, code=1).stdout
    assert place.run("prune").stdout.startswith("shop.orders: 0 log rows")
    place.run("run", "--workers", "3", "--once")
    place.run("verify")
    assert place.run("prune").stdout.startswith("shop.orders: 0 log rows") is False
    place.run("resync", f"{place.prefix}orders")
    assert [worker["epoch"] for worker in workers(place)] == [2, 2, 2]
    place.run("run", "--workers", "2", "--once")
    assert_equal(place)
    assert place.sql(readers) == [("1of2",), ("2of2",)]
    place.run("verify")
    place.run("run", "--once")
    place.run("prune", "--forget")
    assert place.sql("select count(*) from txid_sync.readers") == [(0,)]
    place.run("uninstall", "--yes")


def test_a_dry_run_is_shared_too(place: Place) -> None:
    """Each worker counts its own; together it is everything."""
    place.run("init")
    told = place.run("run", "--workers", "2", "--dry-run").stdout.splitlines()
    assert len(told) == 2
    assert sum(int(line.split(": ")[1].split()[0]) for line in told) == 7


def test_a_signal_before_the_workers_have_begun(place: Place) -> None:
    """At whatever moment it comes, all end, and the parent with 0 (or by the signal itself)."""
    place.run("init")
    for delay_seconds in (0.3, 0.6, 0.9, 1.2):
        with running(place, "--workers", "2") as process:
            time.sleep(delay_seconds)
            found = children(process.pid)
            process.terminate()
            assert process.wait(timeout=PATIENCE_SECONDS) in (0, -signal.SIGTERM)
            eventually(partial(_all_ended, found), PATIENCE_SECONDS)
