"""`make demo`: servers, schema, load, a syncer that keeps killing itself, and the verdict.

With POSTGRES_CONFIG and ELASTICSEARCH_URL set those servers are used; otherwise private ones are
started and removed at the end.  TXID_SYNC_DEMO_SECONDS changes the minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from rich.console import Console
from rich.live import Live
from rich.table import Table

from txid_sync.dev.elasticsearch import ElasticsearchServer
from txid_sync.dev.postgres import PostgresServer
from txid_sync.dev.supervise import Supervised
from txid_sync.dev.view import Figures, figures
from txid_sync.errors import TxidSyncError

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = 8
CRASH_AFTER_SECONDS = 5.0
console = Console(stderr=True, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Servers:
    """Where source and sink are."""

    dsn: str
    url: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the demo's programs."""
        return {**os.environ, "POSTGRES_CONFIG": self.dsn, "ELASTICSEARCH_URL": self.url}


@contextmanager
def servers() -> Iterator[Servers]:
    """The servers that the environment names, or private ones."""
    dsn, url = os.environ.get("POSTGRES_CONFIG"), os.environ.get("ELASTICSEARCH_URL")
    if dsn and url:
        yield Servers(dsn, url)
        return
    if dsn or url:
        raise SystemExit("set both POSTGRES_CONFIG and ELASTICSEARCH_URL, or neither")
    with ExitStack() as stack:
        with console.status("PostgreSQL and Elasticsearch start (fetched at the first time) ..."):
            postgres = stack.enter_context(PostgresServer())
            elasticsearch = stack.enter_context(ElasticsearchServer(long_lived=True))
        console.print(
            f"PostgreSQL {postgres.version} and Elasticsearch {elasticsearch.version} run privately"
        )
        yield Servers(postgres.createdb("sync-test"), elasticsearch.url)


def program(*arguments: str) -> list[str]:
    """A program of the repository's top level, with the same Python."""
    return [sys.executable, str(ROOT / arguments[0]), *arguments[1:]]


def run(where: Servers, *arguments: str) -> int:
    """Run a program to its end; gives its exit code."""
    return subprocess.run(
        program(*arguments), env=where.environment, cwd=ROOT, check=False
    ).returncode


def apply_schema(where: Servers) -> None:
    """Make the demo tables, tracked."""
    done = subprocess.run(
        ["psql", "-q", "-X", "-d", where.dsn, "-f", str(ROOT / "apply-schema.sql")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"apply-schema.sql failed:\n{done.stderr}")
    console.print("psql -f apply-schema.sql: demo tables made and tracked")


def live(where: Servers, load: subprocess.Popen[bytes], sync: Supervised) -> Figures:
    """Show figures until the load has ended; gives the last ones."""
    started = time.monotonic()
    latest = Figures()
    with psycopg2.connect(where.dsn) as connection, Live(console=console, transient=True) as view:
        connection.autocommit = True
        while load.poll() is None:
            latest = figures(connection, where.url, latest)
            table = Table(title="load generator (8 connections) and a sync.py that kills itself")
            for name in ("seconds", "transactions", "rows", "documents", "lag", "crashes survived"):
                table.add_column(name, justify="right")
            table.add_row(
                f"{time.monotonic() - started:.0f}", f"{latest.transactions:,}",
                f"{latest.rows:,}", f"{latest.documents:,}", latest.lag, str(sync.crashes),
            )  # fmt: skip
            view.update(table)
            time.sleep(0.5)
    return latest


def main() -> int:
    """Run the demo; gives the checker's exit code."""
    seconds = float(os.environ.get("TXID_SYNC_DEMO_SECONDS", "60"))
    with servers() as where:
        apply_schema(where)
        console.print(
            f"for {seconds:.0f} s: ./load-generator.py {CONNECTIONS}   and   "
            f"while true; do ./sync.py --crash-after-seconds {CRASH_AFTER_SECONDS:g}; done"
        )
        load = subprocess.Popen(
            program("load-generator.py", str(CONNECTIONS), "--seconds", f"{seconds:g}"),
            env=where.environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        sync = Supervised(
            program("sync.py", "--crash-after-seconds", f"{CRASH_AFTER_SECONDS:g}"),
            where.environment,
        )
        try:
            begun = time.monotonic()
            latest = live(where, load, sync)
            said = load.stderr.read().decode() if load.stderr else ""
        finally:
            load.terminate()
            load.wait()
            sync.stop()
        if load.returncode not in (0, -15):
            console.print(said)
            raise SystemExit(f"the load generator failed with exit code {load.returncode}")
        console.print("load stopped; the backlog is drained: ./sync.py --once --no-crash")
        if code := run(where, "sync.py", "--once", "--no-crash"):
            return code
        drained = time.monotonic() - begun
        console.print("the verdict: ./consistency-check.py")
        code = run(where, "consistency-check.py")
        summary(where, latest, sync.crashes, drained)
    return code


def summary(where: Servers, before: Figures, crashes: int, seconds: float) -> None:
    """The small table at the end."""
    with psycopg2.connect(where.dsn) as connection:
        connection.autocommit = True
        last = figures(connection, where.url, before)
    table = Table(show_header=False)
    for name, value in (
        ("rows", f"{last.rows:,}"),
        ("documents", f"{last.documents:,}"),
        ("transactions", f"{last.transactions:,}"),
        ("crashes survived", str(crashes)),
        ("writes acknowledged by Elasticsearch", f"{last.writes:,}"),
        ("of them per second", f"{last.writes / seconds:,.0f}"),
        ("greatest lag seen while it ran", before.greatest_lag),
        ("lag at the end", last.lag),
    ):
        table.add_row(name, value)
    console.print(table)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except TxidSyncError as error:
        console.print(f"error: {error.message}\nhint: {error.hint}", markup=False)
        sys.exit(int(error.exit_code))
