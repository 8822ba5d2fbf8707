"""The fuzz: writers, a syncer that dies every second or two, servers that die, and the checker.

`python -m tests.chaos.fuzz --seconds 120 --seed 7` is the long form (`make chaos`).
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from txid_sync.dev.elasticsearch import ElasticsearchServer
from txid_sync.dev.postgres import PostgresServer
from txid_sync.dev.supervise import Supervised

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = 8
DATABASE = "sync-test"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to; `equal` is the checker's verdict, `report` its words."""

    equal: bool
    report: str
    syncer_deaths: int
    postgres_crashes: int
    elasticsearch_crashes: int


class Trouble:
    """Kills the syncer every one to three seconds, and the servers at set parts of the run."""

    def __init__(
        self, seed: int, sync: Supervised, postgres: PostgresServer, search: ElasticsearchServer
    ) -> None:
        self._random = random.Random(seed)
        self._sync, self._postgres, self._search = sync, postgres, search
        self.postgres_crashes = self.elasticsearch_crashes = 0

    def run(self, seconds: float) -> None:
        """Make trouble for so long; PostgreSQL falls twice, Elasticsearch once, in any case."""
        begun = time.monotonic()
        plan: list[tuple[float, Callable[[], None]]] = [
            (0.25, self._crash_postgres), (0.5, self._crash_search), (0.7, self._crash_postgres),
        ]  # fmt: skip
        while (passed := time.monotonic() - begun) < seconds or plan:
            if plan and passed >= plan[0][0] * seconds:
                plan.pop(0)[1]()
            time.sleep(self._random.uniform(1.0, 3.0))
            self._sync.kill9()

    def _crash_postgres(self) -> None:
        self._postgres.stop("immediate")
        self._postgres.start()
        self.postgres_crashes += 1

    def _crash_search(self) -> None:
        self._search.kill9()
        self._search.start()
        self.elasticsearch_crashes += 1


def run(seconds: float, seed: int, log: Path | None = None) -> Outcome:
    """One whole run on servers of its own."""
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        search = stack.enter_context(ElasticsearchServer())
        environment = {
            **os.environ,
            "POSTGRES_CONFIG": postgres.createdb(DATABASE),
            "ELASTICSEARCH_URL": search.url,
        }
        apply_schema(environment)
        load = subprocess.Popen(
            script("load-generator.py", str(CONNECTIONS), "--seconds", f"{seconds:g}",
                   "--seed", str(seed), "--max-sleep-seconds", "4"),
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        said: list[bytes] = []
        reader = threading.Thread(target=lambda: said.append(load.communicate()[1]))
        reader.start()
        sync = Supervised(
            script("sync.py", "--page-size", "20", "--crash-after-seconds", "2"), environment, log
        )
        trouble = Trouble(seed, sync, postgres, search)
        try:
            trouble.run(seconds)
            reader.join(timeout=120)
        finally:
            load.kill()
            reader.join()
            sync.stop()
        assert load.returncode == 0, f"load generator: {b''.join(said).decode()[-2000:]}"
        check = verdict(environment)
        return Outcome(
            check.returncode == 0, check.stdout + check.stderr, sync.crashes,
            trouble.postgres_crashes, trouble.elasticsearch_crashes,
        )  # fmt: skip


def script(*arguments: str) -> list[str]:
    """A program of the top level, with this Python."""
    return [sys.executable, str(ROOT / arguments[0]), *arguments[1:]]


def apply_schema(environment: dict[str, str]) -> None:
    """Make the demo tables."""
    subprocess.run(
        ["psql", "-q", "-X", "-d", environment["POSTGRES_CONFIG"], "-f",
         str(ROOT / "apply-schema.sql")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip


def verdict(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Drain the backlog without further crashes, then compare both sides."""
    drained = subprocess.run(
        script("sync.py", "--once", "--no-crash"),
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert drained.returncode == 0, drained.stderr[-3000:]
    return subprocess.run(
        script("consistency-check.py"),
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    options = parser.parse_args()
    sys.stderr.write(f"seed {options.seed}, {options.seconds:g} s\n")
    outcome = run(options.seconds, options.seed)
    sys.stdout.write(
        f"{outcome.report}\nsyncer deaths {outcome.syncer_deaths}, PostgreSQL crashes "
        f"{outcome.postgres_crashes}, Elasticsearch crashes {outcome.elasticsearch_crashes}, "
        f"equal: {outcome.equal}, seed {options.seed}\n"
    )
    return 0 if outcome.equal else 1


if __name__ == "__main__":
    sys.exit(main())
