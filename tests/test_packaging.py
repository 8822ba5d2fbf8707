"""What is installed is what the sources say."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import re
import subprocess
import tomllib
from pathlib import Path

import txid_sync

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirement_lines() -> list[str]:
    """requirements.txt without comments and empty lines."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def test_requirements_equal_the_runtime_dependencies() -> None:
    """requirements.txt and pyproject.toml name the same packages with the same bounds."""
    assert requirement_lines() == PROJECT["dependencies"]


def test_versions_agree() -> None:
    """The package, its metadata and pyproject.toml have one version."""
    assert txid_sync.__version__ == PROJECT["version"]
    assert importlib.metadata.version("txid-sync") == PROJECT["version"]


def test_console_script_leads_to_a_function() -> None:
    """The entry point `txid-sync` can be loaded and called."""
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="txid-sync")
    assert callable(script.load())


def test_package_data_is_found_by_its_patterns() -> None:
    """SQL, the Java node and the type marker are files of the package and covered by patterns."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    package = ROOT / "txid_sync"
    covered = {
        path.relative_to(package)
        for pattern in tool["package-data"]["txid_sync"]
        for path in package.glob(pattern)
    }
    present = {
        path.relative_to(package)
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".py"}
    }
    assert present == covered
    assert importlib.resources.files("txid_sync").joinpath("py.typed").is_file()


def test_every_make_target_is_in_the_help() -> None:
    """`make help` lists each target that a person may call."""
    makefile = (ROOT / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    wanted = {name for line in phony for name in line.split()} - {".venv"}
    command = ["make", "--no-print-directory", "help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line.split()[0] for line in shown.splitlines()} == wanted
