"""Fetches jars with Maven, which knows from its own settings where to look."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from txid_sync.dev.cache import locked
from txid_sync.dev.processes import ServerError, finish

PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.0"


def copy_artifact(coordinates: str, folder: Path) -> Path:
    """Put one artifact (group:artifact:version) into the folder; gives the jar."""
    run([f"{PLUGIN}:copy", f"-Dartifact={coordinates}", f"-DoutputDirectory={folder}"], folder)
    jars = list(folder.glob("*.jar"))
    if len(jars) != 1:
        raise ServerError(f"Maven brought {len(jars)} files for {coordinates} instead of one")
    return jars[0]


def copy_dependencies(pom: Path, folder: Path, properties: Sequence[str]) -> None:
    """Put every runtime jar of a pom.xml into the folder; `properties` are name=value."""
    arguments = [
        f"{PLUGIN}:copy-dependencies",
        f"--file={pom}",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={folder}",
        *(f"-D{item}" for item in properties),
    ]
    run(arguments, folder)


def run(arguments: Sequence[str], folder: Path) -> None:
    """Run mvn in a folder that has no pom.xml; raises ServerError with the end of its output."""
    maven = shutil.which("mvn")
    if maven is None:
        raise ServerError("Maven (mvn) is missing", "install it: apt-get install maven")
    # Two Mavens that fill one local repository at the same time can break each other's files.
    with locked("maven"):
        command = [maven, "-q", "-B", "-ntp", "-Dstyle.color=never", *arguments]
        finish(command, f"Maven failed ({arguments[0]})", folder)
