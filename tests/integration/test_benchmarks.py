"""Every benchmark runs, in a tiny form; how fast anything is, is not asked here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import latest, report
from benchmarks.__main__ import NAMES, module_of
from benchmarks.report import Figure
from benchmarks.world import World, servers

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """The servers of a run."""
    with servers(patient=False) as found:
        yield found


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A history and a README of the test's own."""
    for name, text in (("HISTORY", ""), ("README", f"{latest.BEGIN}{latest.END}")):
        path = tmp_path / name
        path.write_text(text)
        monkeypatch.setattr(latest, name, path)
    return tmp_path / "HISTORY"


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs(
    world: World, name: str, capsys: pytest.CaptureFixture[str], history: Path
) -> None:
    """Each prints a table and a JSON line of its figures, and is recorded only when asked to."""
    module = module_of(name)
    assert set(module.FORMS) == {"full", "short", "tiny"}
    figures = module.run(world, module.FORMS["tiny"])
    report.publish(name, "tiny", world.versions(), figures, record=False)
    assert not history.read_text()
    report.publish(name, "tiny", world.versions(), figures, record=True)
    line = json.loads(history.read_text())
    assert capsys.readouterr().out.splitlines()[-1] == history.read_text().rstrip()
    assert line["benchmark"] == name
    assert set(line["versions"]) == {"PostgreSQL", "Elasticsearch", "Python", "txid-sync"}
    assert len(line["figures"]) == len(figures) > 0
    assert any(figure["must"] is not None for figure in line["figures"])


def test_every_module_with_forms_is_on_the_list() -> None:
    """No benchmark is forgotten by `make bench`."""
    folder = latest.HISTORY.parent
    found = {f.stem for f in folder.glob("*.py") if "FORMS = {" in f.read_text()}
    assert found == {name.replace("-", "_") for name in NAMES}


def test_a_figure_knows_whether_it_is_reached() -> None:
    """The median counts, against the least or the greatest value; without one nothing is asked."""
    rate = Figure("rate", [0.5, 2.0, 0.7], "x", must=0.7, aim=0.8)
    assert rate.value()["reached"] is True
    assert rate.value()["aim_reached"] is False
    slow = Figure("time", [1, 3, 4], "s", must=2, at_most=True)
    assert slow.value()["reached"] is False
    assert slow.row()[-1] == "NOT REACHED"
    assert Figure("told", [1.0]).value()["reached"] is None
    assert report.reached([rate, Figure("told", [1.0])])
    assert not report.reached([rate, slow])


def test_the_readme_shows_the_latest_line_of_each_benchmark() -> None:
    """What README.md says is what history.jsonl holds, and nothing else."""
    readme = latest.README.read_text()
    assert latest.replaced(readme, latest.rendered(latest.latest())) == readme


def test_the_last_line_of_a_benchmark_counts(history: Path) -> None:
    """Recording again replaces the rows of before."""
    for value in (1.0, 2.0):
        report.publish("name", "tiny", {"Server": "1"}, [Figure("time", [value], "s", 1.5,
                       at_most=True)], record=True)  # fmt: skip
    assert len(history.read_text().splitlines()) == 2
    readme = latest.README.read_text()
    assert "| time | 2 s | 2 – 2 | ≤ 1.5 |  | **not reached** |" in readme
    assert "| time | 1 s |" not in readme
