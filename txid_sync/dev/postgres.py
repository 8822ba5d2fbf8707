"""A throw-away PostgreSQL server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection, make_dsn

from txid_sync.dev import postgres_binaries as binaries
from txid_sync.dev.folders import RunFolder
from txid_sync.dev.ports import free_port
from txid_sync.dev.processes import Command, ServerError, ServerProcess, clean_environment
from txid_sync.dev.server import Server

DEFAULT_VERSION = "17"
VERSIONS = tuple(binaries.RELEASES)
SUPERUSER = "postgres"
DEFAULT_SETTINGS: Mapping[str, object] = {
    "fsync": True,  # crash tests need an honest server
    "max_connections": 100,
    "max_prepared_transactions": 20,
    "timezone": "UTC",
    "wal_level": "replica",
}
StopMode = Literal["smart", "fast", "immediate"]
STOP_SIGNALS: Mapping[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
PORT_TRIES = 5


class PostgresServer(Server):
    """One server with a data folder of its own; the superuser is "postgres", without password.

    `version` is a major version, "13" to "18".  `system=True` takes the distribution's programs
    instead of the downloaded ones.  `settings` go into postgresql.conf, over DEFAULT_SETTINGS.
    As a context manager it starts at entry; at exit it stops and its folder is removed.
    """

    def __init__(
        self,
        version: str | None = None,
        settings: Mapping[str, object] | None = None,
        *,
        system: bool = False,
    ) -> None:
        self.version = version or ("15" if system else DEFAULT_VERSION)
        self.port = 0
        self._settings = {**DEFAULT_SETTINGS, **(settings or {})}
        home = (binaries.of_the_system if system else binaries.fetched)(self.version)
        self._run_folder = RunFolder(f"postgres{self.version}")
        self.folder = self._run_folder.path
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.bin = binaries.reachable(home, self.folder / "programs") / "bin"
        self._user = binaries.server_user()

    def start(self, timeout_seconds: float = 60.0) -> None:
        """Start, and wait until connections are accepted; the port stays over restarts.

        Raises ServerError, with the end of the log, if it does not come up.
        """
        if self.running():
            return
        if not self.data.exists():
            self._initialize()
        tries = 1 if self.port else PORT_TRIES
        for attempt in range(1, tries + 1):
            port = self.port or free_port()
            try:
                self._launch(port, timeout_seconds)
            except ServerError as error:
                if attempt == tries or "Address already in use" not in error.hint:
                    raise
            else:
                self.port = port
                return

    def stop(self, mode: StopMode = "fast", timeout_seconds: float = 60.0) -> None:
        """Stop in PostgreSQL's sense of the word; harmless when it does not run."""
        if self._process is not None:
            self._process.stop(STOP_SIGNALS[mode], timeout_seconds)
        self._process = None

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start on the same port."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop at once and remove the folder."""
        with contextlib.suppress(ServerError):
            self.stop("immediate")
        remove_shared_memory(self.data / "postmaster.pid")
        self._run_folder.remove()

    def dsn(self, dbname: str = "postgres", user: str = SUPERUSER) -> str:
        """A libpq connection string."""
        return make_dsn(host="127.0.0.1", port=self.port, dbname=dbname, user=user)

    def connect(self, dbname: str = "postgres", user: str = SUPERUSER) -> connection:
        """A new connection in autocommit mode."""
        opened = psycopg2.connect(self.dsn(dbname, user), connect_timeout=10)
        opened.autocommit = True
        return opened

    def createdb(self, name: str) -> str:
        """Create an empty database; gives its connection string."""
        self._administer("create database {} template template1", name)
        return self.dsn(name)

    def dropdb(self, name: str) -> None:
        """Drop a database, with the sessions that are still in it."""
        self._administer("drop database if exists {} with (force)", name)

    def _administer(self, statement: str, name: str) -> None:
        with contextlib.closing(self.connect()) as session, session.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(sql.Identifier(name)))

    def _initialize(self) -> None:
        """Make the data folder, owned by the user that will run the server."""
        for place in (self.data, self.folder / "socket"):
            place.mkdir(mode=0o700)
            if self._user is not None:
                os.chown(place, self._user.pw_uid, self._user.pw_gid)
        options = ["-A", "trust", "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        done = subprocess.run(
            [str(self.bin / "initdb"), *options, "-D", str(self.data)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self.folder,
            env=clean_environment(),
            user=self._user.pw_uid if self._user else None,
            group=self._user.pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
        )
        if done.returncode != 0:
            raise ServerError("initdb failed", done.stdout[-2000:])
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(setting_line(*item) for item in self._settings.items())

    def _launch(self, port: int, timeout_seconds: float) -> None:
        arguments = ["-D", str(self.data), "-p", str(port), "-h", "127.0.0.1"]
        log_bytes = self.log.stat().st_size if self.log.exists() else 0
        command = Command(
            argv=[str(self.bin / "postgres"), *arguments, "-k", str(self.folder / "socket")],
            folder=self.folder,
            log=self.log,
            orphan_signal=signal.SIGQUIT,
            user=self._user.pw_name if self._user else None,
            group=self._user.pw_gid if self._user else None,
        )
        process = ServerProcess(command)
        if self._accepts(process, port, timeout_seconds):
            self._process = process
            return
        process.kill9()
        with self.log.open(errors="replace") as file:
            file.seek(log_bytes)
            raise ServerError(f"PostgreSQL {self.version} did not start", file.read()[-3000:])

    def _accepts(self, process: ServerProcess, port: int, timeout_seconds: float) -> bool:
        """Wait until the server that we started, not another on the port, accepts connections."""
        deadline = time.monotonic() + timeout_seconds
        while process.running() and time.monotonic() < deadline:
            if pid_file_port(self.data / "postmaster.pid", process.pid) == port:
                dsn = make_dsn(host="127.0.0.1", port=port, dbname="postgres", user=SUPERUSER)
                with contextlib.suppress(psycopg2.OperationalError):
                    psycopg2.connect(dsn, connect_timeout=5).close()
                    return True
            time.sleep(0.02)
        return False


def setting_line(name: str, value: object) -> str:
    """One line of postgresql.conf."""
    text = ("on" if value else "off") if isinstance(value, bool) else str(value)
    escaped = text.replace("'", "''")
    return f"{name} = '{escaped}'\n"


def pid_file_lines(file: Path) -> list[str]:
    """The lines of postmaster.pid; empty when there is none."""
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def pid_file_port(file: Path, pid: int) -> int | None:
    """The port in postmaster.pid, if that file is of this postmaster and complete."""
    lines = pid_file_lines(file)
    return int(lines[3]) if len(lines) >= 8 and lines[0] == str(pid) else None


def remove_shared_memory(pid_file: Path) -> None:
    """Remove the small System V segment that a killed postmaster leaves; they are limited."""
    lines = pid_file_lines(pid_file)
    wanted = lines[6].split() if len(lines) >= 7 else []
    table = Path("/proc/sysvipc/shm")
    for row in table.read_text().splitlines()[1:] if wanted and table.exists() else []:
        key, segment, _, _, _, _, attached = row.split()[:7]
        if [key, segment] == wanted and attached == "0":
            subprocess.run(["ipcrm", "-m", segment], check=False, stderr=subprocess.DEVNULL)
