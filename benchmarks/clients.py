"""Writers from outside: pgbench, which costs so little that it is not the limit."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from txid_sync.dev.processes import ServerError

THREADS = 2
END_SECONDS = 60.0
SINGLE = "\\set id random(1, {rows})\nupdate {table} set paid = not paid where id = :id;\n"
SPOKEN = (
    "\\set id random(1, {rows})\nbegin;\n"
    "update {table} set paid = not paid where id = :id;\ncommit;\n"
)
INDEXED = (
    "\\set id random(1, {rows})\n"
    "update {table} set paid = not paid, updated = now() where id = :id;\n"
)
THOUSAND = (
    "\\set id random(1, {rows} - 999)\n"
    "update {table} set paid = not paid where id between :id and :id + 999;\n"
)


@dataclass(frozen=True, slots=True)
class Load:
    """What writers do: a script of pgbench, how many clients, at which rate (0: all they can), and
    how they speak: statements parsed once (`prepared`), or each time (`simple`)."""

    script: str
    clients: int
    rate: float = 0.0
    environment: Mapping[str, str] | None = None
    protocol: str = "prepared"


def pgbench() -> str:
    """Where the program is; raises ServerError."""
    found = shutil.which("pgbench")
    if found is None:
        raise ServerError("pgbench is not installed", "it comes with the PostgreSQL server")
    return found


@contextmanager
def writing(dsn: str, load: Load, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Writers beside the block; whoever wants their rate asks `rate_of` in it."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.sql"
        script.write_text(load.script)
        rate = ["-R", str(load.rate)] if load.rate else []
        clients = ["-c", str(load.clients), "-j", str(min(THREADS, load.clients))]
        time = ["-T", str(max(1, round(seconds)))]
        process = subprocess.Popen(
            [pgbench(), "-n", "-M", load.protocol, "-f", str(script), *clients, *time, *rate, dsn],
            env=load.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


def rate_of(process: subprocess.Popen[str], seconds: float) -> float:
    """Transactions per second, when the writers have ended."""
    said, _ = process.communicate(timeout=seconds + END_SECONDS)
    found = re.search(r"tps = ([\d.]+)", said)
    assert process.returncode == 0, said
    assert found, said
    return float(found[1])


def throughput(dsn: str, load: Load, seconds: float) -> float:
    """Transactions per second of writers alone."""
    with writing(dsn, load, seconds) as process:
        return rate_of(process, seconds)
