"""Folders of running servers: one each, removed at the end, and by the next run after a crash.

The owner holds a file lock in its folder for as long as it lives.  The kernel drops the lock at
every kind of death, so "lock free" means "stale" even where a pid was reused or cannot be seen
from another container that shares the temporary directory.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "txid-sync-run-"
OWNER_FILE = "owner"
# A folder without a lock file is one that is being made, unless it is this old.
UNFINISHED_SECONDS = 3600.0


class RunFolder:
    """A folder under $TMPDIR that other users may enter but not list."""

    def __init__(self, kind: str) -> None:
        remove_stale()
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-"))
        self.path.chmod(0o711)
        self._owner_pid = os.getpid()
        # Locked under another name first: nobody may find the file before the lock is on it.
        unlocked = self.path / f"{OWNER_FILE}.new"
        self._lock = unlocked.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._lock.write(f"{self._owner_pid} {start_time(self._owner_pid)}\n")
        self._lock.flush()
        unlocked.rename(self.path / OWNER_FILE)
        atexit.register(self.remove)

    def remove(self) -> None:
        """Remove the folder; harmless when repeated or when called in a forked child."""
        atexit.unregister(self.remove)
        if os.getpid() == self._owner_pid:
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def start_time(pid: int) -> str:
    """The process's start in clock ticks since boot; with the pid it names one process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def remove_stale() -> list[Path]:
    """Remove folders whose owner has gone; gives what was removed."""
    mine = Path(tempfile.gettempdir()).glob(f"{PREFIX}*")
    return [folder for folder in mine if remove_if_stale(folder)]


def remove_if_stale(folder: Path) -> bool:
    """True if the folder was stale and is removed."""
    try:
        if folder.stat().st_uid != os.geteuid():
            return False
        lock = (folder / OWNER_FILE).open("r+")
    except FileNotFoundError:
        return remove_if_unfinished(folder)
    except OSError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(folder, ignore_errors=True)
    return True


def remove_if_unfinished(folder: Path) -> bool:
    """Remove a folder whose maker died before it could lock it, once it is old enough."""
    with contextlib.suppress(FileNotFoundError):
        if time.time() - folder.stat().st_mtime > UNFINISHED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
            return True
    return False
