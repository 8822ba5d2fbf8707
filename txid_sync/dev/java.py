"""Finds a JDK that is new enough, without starting one."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from txid_sync.dev.processes import ServerError


@dataclass(frozen=True, slots=True)
class Jdk:
    """A Java development kit: its folder and its major version."""

    home: Path
    major: int

    @property
    def java(self) -> str:
        """Path of the launcher."""
        return str(self.home / "bin" / "java")

    @property
    def javac(self) -> str:
        """Path of the compiler."""
        return str(self.home / "bin" / "javac")


def find_jdk(least_major: int) -> Jdk:
    """The first of $JAVA_HOME, PATH and /usr/lib/jvm that is new enough; raises ServerError."""
    seen: list[str] = []
    for home in candidates():
        jdk = inspect(home)
        if jdk is not None and jdk.major >= least_major:
            return jdk
        if jdk is not None:
            seen.append(f"{jdk.major} in {home}")
    found = ", ".join(seen) or "none"
    hint = f"found: {found}; install one, for example openjdk-{least_major}-jdk-headless"
    raise ServerError(f"a JDK {least_major} or newer is missing", hint)


def candidates() -> Iterator[Path]:
    """Folders where a JDK may be, most wanted first."""
    if named := os.environ.get("JAVA_HOME"):
        yield Path(named)
    if javac := shutil.which("javac"):
        yield Path(javac).resolve().parent.parent
    system = Path("/usr/lib/jvm")
    if system.is_dir():
        yield from sorted(entry for entry in system.iterdir() if not entry.is_symlink())


def inspect(home: Path) -> Jdk | None:
    """Read the `release` file of a JDK; None where there is no compiler or no such file."""
    release = home / "release"
    if not release.is_file() or not (home / "bin" / "javac").is_file():
        return None
    match = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(), re.MULTILINE)
    return Jdk(home, int(match[1])) if match else None
