"""A plugin of pytest that writes down what has failed, where, and which code was imported.

Loaded with `-p tests.mutants.witness` in a copy of the repository; the report is a JSON file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import txid_sync

REPORT = "MUTANTS_REPORT"


class Witness:
    """Keeps every failure in the order in which it came."""

    def __init__(self, report: Path) -> None:
        self._report = report
        self._failures: list[dict[str, str]] = []
        self._passed = 0

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be collected."""
        if report.failed:
            self._note(report.nodeid, "collect", str(report.longrepr))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that has ended, or its fixtures."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            text = crash.message if crash is not None else str(report.longrepr)
            self._note(report.nodeid, str(report.when), text)
        elif report.when == "call" and report.passed:
            self._passed += 1

    def pytest_sessionfinish(self) -> None:
        """Write the report."""
        code = str(Path(txid_sync.__file__).resolve())
        value = {"code": code, "passed": self._passed, "failures": self._failures}
        self._report.write_text(json.dumps(value), encoding="utf-8")

    def _note(self, test: str, when: str, message: str) -> None:
        self._failures.append({"test": test, "when": when, "message": message})


def pytest_configure(config: pytest.Config) -> None:
    """Take part in this run."""
    config.pluginmanager.register(Witness(Path(os.environ[REPORT])))
