"""The soak: an hour of load compressed into minutes; the change log must stay small throughout.

`python -m tests.soak.soak --bursts 360` is the long form (`make soak`): 360 bursts of 1,000
transactions are an hour at 100 a second.  A third of them with the pipeline running, a third with
the pipeline stopped for longer than the retention while `txid-sync prune` runs as from cron, a
third with it running again: it writes everything anew, and both sides are equal.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection

from tests.support import eventually
from txid_sync.dev.elasticsearch import ElasticsearchServer
from txid_sync.dev.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
WRITERS, TRANSACTIONS, KEYS = 4, 250, 500
PATIENCE_SECONDS = 300
RETENTION_SECONDS = 4
CONFIG = """
[pipeline]
prune_interval_seconds = 1.0
[source]
dsn = "{dsn}"
[sink]
url = "{url}"
[[document]]
table = "public.t"
"""
SCHEMA = """
create table public.t (id int primary key, v text);
insert into public.t select g, 'x' from generate_series(1, {keys}) g
"""
BURST = """
do $$ begin for n in 1 .. {transactions} loop
  update public.t set v = md5(random()::text) where id = 1 + (random() * {last})::int;
  commit;
end loop; end $$
"""


@dataclass(slots=True)
class Outcome:
    """The greatest log of each part, as live rows and bytes of its files; the checker's verdict."""

    transactions: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    rows_after: dict[str, int] = field(default_factory=dict)
    resynced: bool = False
    equal: bool = False
    report: str = ""

    def __str__(self) -> str:
        parts = [
            f"{part}: at most {self.rows[part]:,} live rows and {self.bytes[part] / 2**20:.1f} MiB,"
            f" {self.rows_after[part]:,} rows afterwards"
            for part in self.rows
        ]
        ends = f"resynced: {self.resynced}, equal: {self.equal}"
        return "\n".join([f"{self.transactions:,} transactions", *parts, ends])


class Soak:
    """Servers, a configuration, and the load on them."""

    def __init__(self, dsn: str, url: str, folder: Path, show: Callable[[str], None]) -> None:
        self.dsn, self._folder, self._show = dsn, folder, show
        self.outcome = Outcome()
        self._file = folder / "c.toml"
        self._file.write_text(CONFIG.format(dsn=dsn, url=url))
        self._admin = self._connect()
        self.sql(SCHEMA.format(keys=KEYS))
        self.sql("alter system set autovacuum_naptime = '1s'")  # time is compressed for it too
        self.sql("select pg_reload_conf()")
        self.program("init")

    def _connect(self) -> connection:
        made = psycopg2.connect(self.dsn)
        made.autocommit = True
        return made

    def sql(self, statement: str) -> list[tuple[int, ...]]:
        """Run a statement as the owner."""
        with self._admin.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def command(self, *arguments: str) -> list[str]:
        """A command line of txid-sync."""
        return [sys.executable, "-m", "txid_sync", *arguments, "-c", str(self._file)]

    def program(self, *arguments: str) -> str:
        """Run a command to its end; gives what it said."""
        done = subprocess.run(
            self.command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    @contextmanager
    def running(self, log: str) -> Iterator[Path]:
        """`txid-sync run` for the time of the block; gives where it writes what it says."""
        path = self._folder / log
        with path.open("w") as said, subprocess.Popen(
            self.command("run"), cwd=ROOT, stderr=said, env=os.environ
        ) as process:
            try:
                yield path
            finally:
                process.terminate()
                process.wait(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, path.read_text()[-2000:]

    def rows(self) -> int:
        """The live rows of the log."""
        return self.sql("select count(*) from txid_sync.log_1")[0][0]

    def burst(self, part: str) -> None:
        """Many small transactions at once; then look at the log."""
        def write() -> None:
            mine = self._connect()
            try:
                with mine.cursor() as cursor:
                    cursor.execute(BURST.format(transactions=TRANSACTIONS, last=KEYS - 1))
            finally:
                mine.close()

        threads = [threading.Thread(target=write) for _ in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        outcome = self.outcome
        outcome.transactions += WRITERS * TRANSACTIONS
        ((size,),) = self.sql("select pg_total_relation_size('txid_sync.log_1')")
        outcome.rows[part] = max(outcome.rows.get(part, 0), self.rows())
        outcome.bytes[part] = max(outcome.bytes.get(part, 0), size)

    def part(self, name: str, bursts: int, between: Callable[[], object]) -> None:
        """Some bursts, and what is waited for after each."""
        for number in range(bursts):
            self.burst(name)
            between()
            if number % 10 == 9:
                self._show(f"{name}: {number + 1} bursts, {self.rows()} rows in the log")
        self.outcome.rows_after[name] = self.rows()

    def caught_up(self) -> None:
        """Wait until the pipeline has pruned nearly all of a burst."""
        most = WRITERS * TRANSACTIONS // 10
        eventually(lambda: self.rows() <= most, PATIENCE_SECONDS, 0.1)

    def let_go(self) -> None:
        """Prune as from cron until the stopped pipeline is waited for no longer."""
        def gone() -> bool:
            self.program("prune", "--set", "sink.url=http://127.0.0.1:9")
            return self.rows() == 0

        eventually(gone, PATIENCE_SECONDS, 0.5)

    def check(self) -> None:
        """Compare both sides."""
        self.program("run", "--once")
        done = subprocess.run(
            [sys.executable, str(ROOT / "consistency-check.py"), "--config", str(self._file)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.outcome.equal, self.outcome.report = done.returncode == 0, done.stdout + done.stderr

    def close(self) -> None:
        """Let go of the connection."""
        self._admin.close()


def run(bursts: int, show: Callable[[str], None] = lambda line: None) -> Outcome:
    """One whole run on servers of its own."""
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        search = stack.enter_context(ElasticsearchServer())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="txid-sync-soak-")))
        soak = Soak(postgres.createdb("soak"), search.url, folder, show)
        stack.callback(soak.close)
        third = max(1, bursts // 3)
        with soak.running("first.log") as said:
            eventually(
                lambda: soak.sql("select count(*) from txid_sync.readers") == [(1,)],
                PATIENCE_SECONDS,
            )
            soak.part("running", third, soak.caught_up)
        assert "resync" not in said.read_text().replace("0 resyncs", "")
        soak.sql(f"update txid_sync.installed set retention = '{RETENTION_SECONDS} s'")
        soak.part("stopped", third, lambda: soak.program("prune"))
        soak.let_go()
        soak.outcome.rows_after["stopped"] = soak.rows()
        with soak.running("second.log") as said:
            eventually(lambda: "resync" in said.read_text(), PATIENCE_SECONDS)
            soak.outcome.resynced = True
            soak.part("running again", third, soak.caught_up)
        soak.check()
        return soak.outcome


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bursts", type=int, default=360)
    options = parser.parse_args()
    outcome = run(options.bursts, lambda line: print(line, file=sys.stderr))
    print(f"{outcome.report}\n{outcome}")
    return 0 if outcome.equal and outcome.resynced else 1


if __name__ == "__main__":
    sys.exit(main())
