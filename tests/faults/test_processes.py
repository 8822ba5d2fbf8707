"""Processes under fault: zombies that wake up, and orderly ends while something is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.place import Place
from tests.faults.proxy import CUT_ANSWER, CUT_REQUEST, DELAY
from tests.support import eventually
from txid_sync.errors import ExitCode

ROOT = Path(__file__).resolve().parents[2]
ROWS = 200
TOML = """
[pipeline]
page_documents = 20
save_interval_seconds = 0.0
[source]
dsn = "{dsn}"
connect_attempts = 1
[sink]
url = "{url}"
progress_index = "{prefix}progress"
dead_letter_index = "{prefix}letters"
[[document]]
table = "public.t"
index = "{prefix}t"
"""
LONG_SECONDS = 600.0


class Syncer:
    """A `txid-sync run` of its own, with a log."""

    def __init__(self, config: Path, log: Path, *more: str) -> None:
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command(config, *more), cwd=ROOT, stderr=file, env=dict(os.environ)
            )

    def code(self) -> int:
        """The exit code, once it has ended; and nothing has broken."""
        code = self.process.wait(timeout=60)
        assert "Traceback" not in self.log.read_text()
        return code

    def said(self, text: str) -> bool:
        """Whether the log has this text."""
        return text in self.log.read_text()


def command(config: Path, *more: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "txid_sync", "run", "-c", str(config), *more]


@contextmanager
def syncing(place: Place, folder: Path, *more: str) -> Iterator[Syncer]:
    """A syncer through the proxies that has caught up; killed at the end if it still runs."""
    config = folder / "proxied.toml"
    config.write_text(TOML.format(dsn=place.dsn, url=place.http.url, prefix=place.prefix))
    place.fill(ROWS)
    syncer = Syncer(config, folder / "syncer.log", *more)
    try:
        eventually(place.equal, 60)
        yield syncer
    finally:
        syncer.process.kill()
        syncer.process.wait()


def succeed(place: Place, folder: Path) -> None:
    """A successor without proxies catches up and saves progress."""
    config = folder / "direct.toml"
    dsn, url = place.world.database.dsn, place.search.url
    config.write_text(TOML.format(dsn=dsn, url=url, prefix=place.prefix))
    done = subprocess.run(
        command(config, "--once"), cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("moment", ["page", "gate", "bulk", "save"])
def test_F21_a_zombie_wakes_up(place: Place, tmp_path: Path, moment: str) -> None:
    """Stopped in the middle, it goes on after its successor: nothing goes back, it ends with 6."""
    with syncing(place, tmp_path) as zombie:
        proxy, match = {
            "page": (place.postgres, b"as truncated"),
            "gate": (place.postgres, b"pg_current_wal_flush_lsn"),
            "bulk": (place.http, place.bulk),
            "save": (place.http, b"progress/_doc"),
        }[moment]
        held = proxy.arm(DELAY, match, seconds=LONG_SECONDS)
        place.change()
        eventually(held.struck.is_set, 60)
        zombie.process.send_signal(signal.SIGSTOP)
        place.world.run("delete from public.t where id % 3 = 0")
        place.world.run("update public.t set v = 'newest' where id % 2 = 0")
        succeed(place, tmp_path)
        place.assert_equal()
        proxy.heal()  # what it had sent arrives now
        place.assert_equal()
        zombie.process.send_signal(signal.SIGCONT)
        assert zombie.code() == ExitCode.TAKEN_OVER
        place.assert_equal()


@pytest.mark.parametrize("trouble", ["answers late", "refuses", "blocked", "no source"])
def test_B16_an_orderly_end_in_trouble(place: Place, tmp_path: Path, trouble: str) -> None:
    """SIGTERM while a server fails: exit code 0 within the deadline, and the next run goes on."""
    with syncing(place, tmp_path, "-s", "pipeline.deadline_seconds=10") as syncer:
        settings = f"/{place.document.index}/_settings"
        if trouble == "answers late":
            held = place.http.arm(DELAY, place.bulk, seconds=LONG_SECONDS)
            place.change()
            eventually(held.struck.is_set, 60)
        elif trouble == "refuses":
            place.http.refuse()
            place.change()
            eventually(lambda: syncer.said("does not answer"), 60)
        elif trouble == "blocked":
            place.search.request("PUT", settings, {"index.blocks.write": True})
            place.change()
            eventually(lambda: syncer.said("the sink blocks writes"), 60)
        else:
            place.postgres.refuse()
            place.change()
            eventually(lambda: syncer.said("connect to PostgreSQL"), 60)
        syncer.process.send_signal(signal.SIGTERM)
        eventually(lambda: syncer.said("finishing what is in flight"), 60)
        place.http.heal()
        assert syncer.code() == ExitCode.OK
        place.search.request("PUT", settings, {"index.blocks.write": None})
    succeed(place, tmp_path)
    place.assert_equal()


def test_F20_an_answer_cut_in_its_head_is_no_traceback(place: Place, tmp_path: Path) -> None:
    """Half a header line from the sink: a line in the log, then on with the work."""
    with syncing(place, tmp_path) as syncer:
        fault = place.http.arm(CUT_ANSWER, place.bulk, bytes=60)
        place.change()
        eventually(fault.struck.is_set, 60)
        eventually(place.equal, 60)
        syncer.process.send_signal(signal.SIGTERM)
        assert syncer.code() == ExitCode.OK


def test_F20_a_source_that_is_away_at_the_start_is_told(place: Place, tmp_path: Path) -> None:
    """Unreachable servers end the start with 3 and 4, each with a message and no traceback."""
    config = tmp_path / "proxied.toml"
    config.write_text(TOML.format(dsn=place.dsn, url=place.http.url, prefix=place.prefix))
    place.postgres.refuse()
    first = Syncer(config, tmp_path / "first.log")
    assert first.code() == ExitCode.SOURCE_UNREACHABLE
    place.postgres.listen()
    place.http.arm(CUT_REQUEST, times=1000)
    second = Syncer(config, tmp_path / "second.log")
    assert second.code() == ExitCode.SINK_UNREACHABLE
