"""The pages on guarantees and failures name tests and messages that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
GUARANTEES = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
FAILURES = (ROOT / "docs/failures.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([a-z_]+/[\w/.]*(?:::test_\w+)?)`", GUARANTEES)))


@pytest.mark.parametrize("name", NAMED)
def test_named_tests_exist(name: str) -> None:
    """A test, file or folder that stands for a guarantee is there."""
    place, _, function = name.partition("::")
    assert (TESTS / place).exists()
    if function:
        assert f"def {function}(" in (TESTS / place).read_text(encoding="utf-8")


def test_every_row_of_a_table_names_a_test() -> None:
    """Each promise and each failure is shown by something."""
    rows = [r for r in GUARANTEES.splitlines() if r.startswith("| ") and "| what if not |" not in r]
    conditions = GUARANTEES.partition("## Conditions")[2].partition("## Not promised")[0]
    shown = [row for row in rows if row not in conditions and "| shown by |" not in row]
    assert len(shown) > 25
    assert [row for row in shown if not any(f"`{name}`" in row for name in NAMED)] == []


def test_messages_for_operators_are_those_of_the_program() -> None:
    """What the operators' page quotes is what the program says."""
    files = sorted((ROOT / "txid_sync").rglob("*.py"))
    said = "\n".join(file.read_text(encoding="utf-8") for file in files)
    said = re.sub(r'"\s*f?"', "", said)
    lines = FAILURES.splitlines()
    quoted = [m for line in lines for m in re.findall(r"`([^`]+ [^`]*…[^`]*)`", line)]
    fragments = {f.strip(" :") for m in quoted for f in m.split("…") if len(f.strip(" :")) > 6}
    assert len(fragments) > 15
    assert sorted(f for f in fragments if f not in said) == []
