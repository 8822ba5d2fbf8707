"""Says at the end of a run how many states the searches have met."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line: states of all searches that passed."""
    found = [
        (report.nodeid, value)
        for report in terminalreporter.stats.get("passed", ())
        for name, value in getattr(report, "user_properties", ())
        if name == "states" and report.when == "call"
    ]
    if not found:
        return
    pipelines = sum(states for nodeid, states in found if "test_pipelines" in nodeid)
    cursors = sum(states for _, states in found) - pipelines
    terminalreporter.write_line(
        f"model: {cursors} states of the cursor, {pipelines} of the pipeline explored"
    )
