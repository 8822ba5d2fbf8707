"""For the programs at the top level: find the dependencies in .venv where they are not installed.

Only the standard library may be imported here.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

NEEDED = ("click", "elasticsearch", "psycopg2", "rich")
PYTHON = Path(__file__).resolve().parents[1] / ".venv" / "bin" / "python"


def find_dependencies() -> None:
    """Go on with the project's own Python if this one lacks a dependency; exits if none has."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if not missing:
        return
    if PYTHON.exists() and Path(sys.prefix) != PYTHON.parents[1]:
        os.execv(PYTHON, [str(PYTHON), *sys.argv])  # noqa: S606
    sys.stderr.write(
        f"error: {', '.join(missing)} not installed\n"
        "hint: 'make setup' makes .venv, or: pip install -r requirements.txt\n"
    )
    sys.exit(2)
