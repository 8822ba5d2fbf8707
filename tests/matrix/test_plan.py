"""The matrix leaves out no version, and cannot pass without having tested anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.matrix.__main__ import perform
from tests.matrix.plan import (
    ALL_PAIRS,
    DEFAULT,
    DIAGONAL,
    MORE_OF_ENGINE,
    MORE_OF_POSTGRES,
    OF_ENGINE,
    OF_POSTGRES,
    PAIR,
    Run,
    runs_of,
)
from txid_sync.dev.engines import ENGINES
from txid_sync.dev.postgres import VERSIONS

ROOT = Path(__file__).resolve().parents[2]
SUITES = PAIR + OF_POSTGRES + OF_ENGINE + MORE_OF_POSTGRES + MORE_OF_ENGINE


def test_the_diagonal_has_every_version() -> None:
    """Every PostgreSQL once, every engine at least once, also without the default pair."""
    assert sorted(postgres for postgres, _ in DIAGONAL) == sorted(VERSIONS)
    assert {engine for _, engine in DIAGONAL} == set(ENGINES)
    assert DEFAULT in DIAGONAL
    assert DIAGONAL.index(DEFAULT) > [engine for _, engine in DIAGONAL].index(DEFAULT[1])
    assert set(ALL_PAIRS) == {(postgres, engine) for postgres in VERSIONS for engine in ENGINES}


@pytest.mark.parametrize("pairs", [DIAGONAL, ALL_PAIRS], ids=["diagonal", "all"])
@pytest.mark.parametrize("missing", [{}, {"opensearch-3.8.0": "no JDK"}], ids=["all", "one-less"])
def test_every_suite_runs_once_per_version(
    pairs: tuple[tuple[str, str], ...], missing: dict[str, str]
) -> None:
    """The suites of a version run with its first pair, also where that pair is left out."""
    runs = runs_of(pairs, missing, more=True)
    assert [(run.postgres, run.engine) for run in runs] == list(pairs)
    for files, versions, name in (
        (OF_POSTGRES + MORE_OF_POSTGRES, set(VERSIONS), "postgres"),
        (OF_ENGINE + MORE_OF_ENGINE, set(ENGINES) - set(missing), "engine"),
    ):
        for file in files:
            assert sorted(getattr(r, name) for r in runs if file in r.files) == sorted(versions)
    own = {run.engine: run.postgres for run in runs if OF_ENGINE[0] in run.files}
    assert all(p <= own[e] for p, e in pairs if e in own), "not the newest has its types"
    assert all((PAIR[0] in run.files) == (run.engine not in missing) for run in runs)
    assert {run.engine for run in runs if run.left_out} == set(missing)


def test_every_suite_is_a_file() -> None:
    """No name in the plan is one of a file that has moved."""
    assert [name for name in SUITES if not (ROOT / name).is_file()] == []


ONE_TEST = "test_plan.py::test_every_suite_is_a_file"


@pytest.mark.parametrize(("file", "passed"), [("none.py", 0), ("plan.py", 0), (ONE_TEST, 1)])
def test_a_run_without_tests_has_failed(file: str, passed: int) -> None:
    """A file that is missing or holds no test is a failure, a test that passes is counted."""
    result = perform(Run("17", "elasticsearch-8.19.20", (f"tests/matrix/{file}",)))
    assert (result.passed, result.failed) == (passed, 1 - passed)
