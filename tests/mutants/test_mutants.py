"""The list of mutants fits the present code, and its runner tells killed from survived."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.__main__ import run, summary
from tests.mutants.entries import ROOT, BadEntry, Mutant, chosen, listed
from tests.mutants.runner import Outcome, Ran, Verdict, red_test, try_all, workshops

LISTED = listed()
FAST = ("clock-counts-open-transactions", "clock-of-32-bits")
HARMLESS = Mutant(
    area="none",
    name="another-word",
    breaks="nothing",
    file="txid_sync/inflight.py",
    old='    """An answer came."""',
    new='    """An answer has come."""',
    tests=("tests/unit/test_inflight.py::test_flights_adapt_between_one_and_the_limit",),
)
LINE = "self._allowed = max(1.0, self._allowed / 2)"
NO_MUTANTS = {
    "no-import": replace(HARMLESS, name="no-import", old="import deque", new="import queue_deque"),
    "no-such-name": replace(HARMLESS, name="no-such-name", old=LINE, new="self._allowed = nothing"),
    "no-such-text": replace(HARMLESS, name="no-such-text", old="nowhere to be found"),
}


@pytest.mark.parametrize("mutant", LISTED, ids=lambda mutant: mutant.name)
def test_every_mutant_fits_the_present_code(mutant: Mutant) -> None:
    """Its old text occurs exactly once, and Python with it is another program, but a program."""
    changed = mutant.changed(ROOT)
    if mutant.file.endswith(".py"):
        original = (ROOT / mutant.file).read_text(encoding="utf-8")
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(original))
        compile(changed, mutant.file, "exec", dont_inherit=True)


def test_the_list_is_whole() -> None:
    """At least 25 entries, each with a name of its own, one sentence, and tests to run."""
    assert len(LISTED) >= 25
    assert len({mutant.name for mutant in LISTED}) == len(LISTED)
    for mutant in LISTED:
        assert mutant.breaks[0].islower() or mutant.breaks[0].isupper()
        assert not mutant.breaks.endswith(".") and mutant.tests
        assert mutant.file.startswith("txid_sync/"), "only the real code is changed"


def test_every_selection_can_be_collected() -> None:
    """Every file and node id of the list names tests that are there."""
    tests = sorted({test for mutant in LISTED for test in mutant.tests})
    options = ["--collect-only", "-q", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def outcomes() -> Mapping[str, Outcome]:
    """What becomes of entries that are no mutants at all."""
    with workshops(2) as shops:
        found = try_all(shops, list(NO_MUTANTS.values()), lambda mutant, outcome: None)
    return {mutant.name: outcome for mutant, outcome in found.items()}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("no-import", "collect of"), ("no-such-name", "NameError"), ("no-such-text", "occurs 0")],
)
def test_what_does_not_run_is_not_killed(
    outcomes: Mapping[str, Outcome], name: str, reason: str
) -> None:
    """A change that nothing can import, or that fits nowhere, is an error in the list."""
    assert outcomes[name].verdict is Verdict.BROKEN
    assert reason in outcomes[name].by


def test_real_mutants_are_killed_and_a_harmless_one_survives(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two of the list are killed, each by its test; another word in a docstring is told: exit 1."""
    assert run([*chosen(LISTED, FAST, ()), HARMLESS], jobs=2) == 1
    told = capsys.readouterr().out.splitlines()
    assert "all pass" in told[0]
    for name, test in zip(FAST, ("test_snapshot.py", "test_model.py"), strict=True):
        assert any(f"killed   {name} " in line and f"unit/{test}::" in line for line in told)
    assert any(line.startswith("SURVIVED: another-word") for line in told)
    assert told[-1].startswith("3 mutants: 2 killed, 1 survived, ")


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_killed_mutants_are_a_success(verdict: Verdict) -> None:
    """The exit code is 0 if every mutant was killed, and 1 whatever else became of one."""
    outcomes = {HARMLESS: Outcome(Verdict.KILLED, "t", 0.0)}
    outcomes[LISTED[0]] = Outcome(verdict, "t", 0.0)
    assert summary(outcomes, 1.0) == (0 if verdict is Verdict.KILLED else 1)


def test_code_from_elsewhere_is_not_believed() -> None:
    """A run that imported any other code than that of the copy says nothing, whatever it says."""
    with workshops(1) as (shop,):
        inside = str((shop.root / "txid_sync" / "__init__.py").resolve())
        failure = {"test": "t", "when": "call", "message": "AssertionError"}
        for code, told in ((inside, ""), (str(ROOT / "txid_sync" / "__init__.py"), "not the copy")):
            ran = Ran(1, {"code": code, "passed": 0, "failures": [failure]}, "")
            assert (shop.problem(ran) == "") == (told == "")
            assert told in shop.problem(ran)
    assert not shop.root.exists()


def test_a_test_that_fails_anyway_kills_nothing() -> None:
    """A mutant is not tried if one of its tests fails without it, in that file or by that id."""
    mutant = replace(HARMLESS, tests=("tests/a.py", "tests/b.py::test_x"))
    for red in ("tests/a.py::test_y", "tests/b.py::test_x", "tests/b.py::test_x[1]"):
        assert red_test(mutant, [red]) == red
    assert red_test(mutant, ["tests/b.py::test_xy", "tests/ab.py::test_y"]) == ""


def test_unknown_names_and_incomplete_entries_are_refused(tmp_path: Path) -> None:
    """A misspelt name is an error, and so is an entry without one of its parts."""
    with pytest.raises(BadEntry, match="no mutant or area is called x"):
        chosen(LISTED, ["x"], ())
    assert {mutant.area for mutant in chosen(LISTED, (), ["core"])} == {"core"}
    (tmp_path / "a.toml").write_text('[[mutant]]\nname = "x"\ntests = []\n')
    with pytest.raises(BadEntry, match=r"a.toml: x"):
        listed(tmp_path)
