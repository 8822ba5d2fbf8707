"""PGSync in a virtual environment of its own, made once from pinned requirements and kept."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from txid_sync.dev.cache import cached
from txid_sync.dev.processes import finish

REQUIREMENTS = Path(__file__).with_name("pgsync-requirements.txt")


def pinned(package: str) -> str:
    """The version of a package among the requirements."""
    lines = dict(
        line.split("==") for line in REQUIREMENTS.read_text().splitlines() if "==" in line
    )  # fmt: skip
    return lines[package]


def environment() -> Path:
    """Folder of the virtual environment; its scripts are to be run by its bin/python."""

    def build(folder: Path) -> None:
        finish([sys.executable, "-m", "venv", str(folder)], "no virtual environment for PGSync")
        quiet = ["--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
        python = str(folder / "bin" / "python")
        finish([python, "-m", "pip", "install", *quiet], "PGSync cannot be installed")

    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:8]
    minor = "{}.{}".format(*sys.version_info)
    return cached(f"pgsync-{pinned('pgsync')}-python{minor}-{digest}", build)
