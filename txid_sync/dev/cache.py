"""Where downloaded and compiled things are kept: $TXID_SYNC_CACHE, else ~/.cache/txid-sync.

Safe for runs side by side: the first one builds under a lock, in a folder that becomes visible by
one rename; the others wait and find it ready.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


def cache_root() -> Path:
    """The cache folder, made if need be."""
    named = os.environ.get("TXID_SYNC_CACHE")
    root = Path(named) if named else Path.home() / ".cache" / "txid-sync"
    root.mkdir(parents=True, exist_ok=True)
    return root.resolve()


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name` in the cache; `build` fills an empty one if it is not there yet."""
    ready = cache_root() / name
    if ready.is_dir():
        return ready
    with locked(name):
        if ready.is_dir():
            return ready
        remove_leftovers(name)
        scratch = Path(tempfile.mkdtemp(prefix=f"{name}.part-", dir=cache_root()))
        try:
            build(scratch)
            scratch.chmod(0o755)
            scratch.rename(ready)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return ready


def remove_leftovers(name: str) -> None:
    """Remove what a killed build of this name left; only its lock's holder may call this."""
    for folder in cache_root().glob(f"{name}.part-*"):
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of that name, among all processes that share the cache."""
    with (cache_root() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
