"""PostgreSQL programs of every supported version, as Maven artifacts, and who may run them."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import tarfile
import zipfile
from pathlib import Path

from txid_sync.dev import maven
from txid_sync.dev.cache import cached
from txid_sync.dev.processes import ServerError

GROUP = "io.zonky.test.postgres"
RELEASES = {
    "13": "13.23.0",
    "14": "14.20.0",
    "15": "15.15.0",
    "16": "16.11.0",
    "17": "17.7.0",
    "18": "18.3.0",
}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64v8"}


def fetched(version: str) -> Path:
    """The unpacked programs (bin, lib, share) of a major version, from the cache."""
    release = RELEASES.get(version)
    if release is None:
        raise ServerError(f"PostgreSQL {version} is not on the list", f"one of {sorted(RELEASES)}")
    machine = platform.machine()
    architecture = ARCHITECTURES.get(machine)
    if platform.system() != "Linux" or architecture is None:
        raise ServerError(f"no PostgreSQL programs for {platform.system()} on {machine}")
    artifact = f"embedded-postgres-binaries-linux-{architecture}"

    def build(folder: Path) -> None:
        jar = maven.copy_artifact(f"{GROUP}:{artifact}:{release}", folder)
        unpack(jar, folder)
        jar.unlink()

    return cached(f"postgres-{release}-{architecture}", build)


def unpack(jar: Path, folder: Path) -> None:
    """Unpack the .txz inside the jar into the folder."""
    with zipfile.ZipFile(jar) as outer:
        (name,) = [entry for entry in outer.namelist() if entry.endswith(".txz")]
        with outer.open(name) as stream, tarfile.open(fileobj=stream, mode="r|xz") as inner:
            inner.extractall(folder, filter="tar")


def of_the_system(version: str) -> Path:
    """The distribution's own installation: everything, pg_basebackup and pgbench too."""
    home = Path("/usr/lib/postgresql") / version
    if not (home / "bin" / "postgres").exists():
        hint = f"install it: apt-get install postgresql-{version}"
        raise ServerError(f"PostgreSQL {version} is not installed in {home}", hint)
    return home


def server_user() -> pwd.struct_passwd | None:
    """The user that has to run PostgreSQL, which refuses root; None: as we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerError("PostgreSQL refuses to run as root and there is no other user", "make one")


def reachable(home: Path, place: Path) -> Path:
    """`home` itself, or hard links to it in `place` where the server's user cannot enter it.

    The cache of root is usually below /root, closed to everybody else.
    """
    path = [home, *home.parents]
    if server_user() is None or all(part.stat().st_mode & 0o001 for part in path):
        return home
    try:
        shutil.copytree(home, place, symlinks=True, copy_function=os.link)
    except (shutil.Error, OSError):  # another file system
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(home, place, symlinks=True)
    return place
