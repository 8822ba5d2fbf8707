"""A standby as the source: refused in this version, with one line and its exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from txid_sync import schema
from txid_sync.dev import PostgresServer
from txid_sync.errors import ExitCode

ROOT = Path(__file__).resolve().parents[2]


def test_F07_a_standby_is_refused_with_a_clear_line(tmp_path: Path) -> None:
    """In recovery a snapshot hides transactions in progress, so nothing is read from there."""
    with PostgresServer() as server:
        admin = server.connect()
        with admin.cursor() as cursor:
            cursor.execute("create table public.t (id int primary key)")
        schema.install(admin)
        schema.track(admin, "public.t")
        admin.close()
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        config = tmp_path / "c.toml"
        config.write_text(
            f'source.dsn = "{server.dsn()}"\ndocument = [{{ table = "public.t" }}]\n'
        )
        done = subprocess.run(
            [sys.executable, "-m", "txid_sync", "run", "--once", "-c", str(config)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == ExitCode.PRECONDITION, done.stderr
    assert "the source is a standby" in done.stderr
    assert "connect to the primary" in done.stderr
    assert "Traceback" not in done.stderr
