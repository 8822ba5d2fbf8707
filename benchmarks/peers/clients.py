"""Writers: pgbench for throughput, threads with open transactions for the order of commits."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

from psycopg2.extensions import connection

from benchmarks.peers import rows
from benchmarks.peers.arena import Arena
from txid_sync.dev.processes import ServerError

THREADS = 2
ROLLBACK_SHARE = 0.1
LONGEST_PAUSE_SECONDS = 0.25


def pgbench(arena: Arena, table: str, size: int, clients: int, seconds: float) -> tuple[float, int]:
    """Single-row transactions as fast as they go; their rate and their number."""
    found = shutil.which("pgbench")
    if found is None:
        raise ServerError("pgbench is missing", "it comes with the PostgreSQL server")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.sql"
        script.write_text(rows.SCRIPT.format(table=table, rows=size))
        done = subprocess.run(
            [found, "-n", "-M", "prepared", "-f", str(script), "-c", str(clients),
             "-j", str(min(THREADS, clients)), "-T", str(max(1, round(seconds))),
             arena.site.postgres.dsn(arena.contender.database)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    rate = re.search(r"tps = ([\d.]+)", done.stdout)
    number = re.search(r"actually processed: (\d+)", done.stdout)
    if done.returncode or not rate or not number:
        raise ServerError("pgbench failed", (done.stdout + done.stderr)[-1000:])
    return float(rate[1]), int(number[1])


def overlapping(arena: Arena, size: int, writers: int, seconds: float) -> list[threading.Thread]:
    """Start writers whose transactions wait before they commit, so that these come in any order."""

    def write() -> None:
        with closing(arena.site.postgres.connect(arena.contender.database)) as session:
            while time.monotonic() < limit:
                _transaction(session, size)

    limit = time.monotonic() + seconds
    threads = [threading.Thread(target=write, daemon=True) for _ in range(writers)]
    for thread in threads:
        thread.start()
    return threads


def _transaction(session: connection, size: int) -> None:
    """Change some rows (in the order of their keys: no deadlock), wait, commit or roll back."""
    with session.cursor() as cursor:
        cursor.execute("begin")
        for id in sorted(random.sample(range(1, size + 1), random.randint(1, 4))):
            cursor.execute(rows.CHANGE, (id,))
        time.sleep(random.uniform(0, LONGEST_PAUSE_SECONDS))
        cursor.execute("rollback" if random.random() < ROLLBACK_SHARE else "commit")
