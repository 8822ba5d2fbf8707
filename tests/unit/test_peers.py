"""The comparison with other programs: its pure parts, and that it says what is missing."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import shutil
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.peers import differences, pgsync, rows
from benchmarks.peers.__main__ import MEASURES, PAGE, lines_of
from benchmarks.peers.contenders import ALL, TxidSync
from benchmarks.peers.figures import BEGIN, END, Claim, Line, recorded, spread, table
from benchmarks.peers.redis import Redis
from benchmarks.peers.sizes import FORMS
from txid_sync.dev.processes import ServerError

RATE = Claim("load", "documents/s", must=5, aim=8)
DELAY = Claim("latency", "ms", more_is_better=False, must=5)
LOST = Claim("rows lost", more_is_better=False, at_most=0)


def test_every_module_can_be_imported() -> None:
    """No module of the comparison needs PGSync, Redis or a server to be loaded."""
    names = [module.name for module in pkgutil.iter_modules(peers.__path__)]
    assert len(names) > 10
    for name in names:
        importlib.import_module(f"benchmarks.peers.{name}")


def test_differences_by_key_and_revision() -> None:
    """Missing rows, old revisions and ghosts are told apart; equal sides have none."""
    assert doctest.testmod(differences).attempted == 1
    assert doctest.testmod(differences).failed == 0
    assert differences.differences({1: 2}, {1: 2}).rows == 0
    assert differences.differences({1: 2, 2: 1}, {1: 1, 3: 1}).rows == 3


@pytest.mark.parametrize(
    ("claim", "ours", "theirs", "ratio", "reached"),
    [
        (RATE, [50, 70, 60], [10, 10, 10], 6, True),
        (RATE, [50, 40, 45], [10, 10, 10], 4.5, False),
        (DELAY, [10, 10], [50, 70], 6, True),
        (DELAY, [20, 20], [50, 70], 3, False),
        (DELAY, [0], [50], None, True),
        (LOST, [0, 0], [5, 0], None, True),
        (LOST, [0, 1], [5, 0], None, False),
        (Claim("idle", more_is_better=False), [1], [2], 2, None),
    ],
)
def test_ratios_are_of_pairs_of_one_round(
    claim: Claim, ours: list[float], theirs: list[float], ratio: float | None, reached: bool | None
) -> None:
    """The median of the ratios counts, better is above one; a bound is for the worst value."""
    line = Line(claim, {"txid-sync": ours, "PGSync": theirs})
    assert line.ratio == ratio
    assert line.reached is reached
    found = json.loads(json.dumps(line.json()))
    assert found["reached"] is reached
    assert found["values"]["PGSync"] == theirs


def test_a_table_has_a_column_for_each_contender() -> None:
    """Medians with ranges, the ratio, what is claimed and the verdict, all lines equally long."""
    line = Line(RATE, {"txid-sync": [50_000, 70_000, 60_000], "PGSync": [20_000, 20_000, 20_000]})
    head, rule, row = table([line], ["txid-sync", "PGSync", "poller"])
    assert [cell.strip() for cell in head.strip("|").split("|")][1:4] == [
        "txid-sync", "PGSync", "poller",
    ]  # fmt: skip
    assert len(head) == len(rule) == len(row)
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "load, documents/s", "60,000 [50,000 - 70,000]", "20,000", "", "x3", ">= x5, aim x8",
        "NOT REACHED",
    ]  # fmt: skip
    assert spread([0.5, 0.5]) == "0.5"


def test_results_replace_earlier_ones() -> None:
    """Only what stands between the marks of the page changes, however often."""
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = recorded(page, ["new", "lines"])
    assert once == f"before\n{BEGIN}\nnew\nlines\n{END}\nafter\n"
    assert recorded(once, ["new", "lines"]) == once
    assert recorded(PAGE.read_text(), []) != ""


def test_contenders_take_turns() -> None:
    """In each round another one is first, and all rounds of a claim are kept in order."""
    seen: list[str] = []

    def measure(site: object, kind: type, sizes: object) -> dict[Claim, float]:
        seen.append(kind.name)
        return {RATE: len(seen)}

    sizes = FORMS["full"]  # a stand-in for the servers: the measure asks nothing of them
    (line,), notes = lines_of(None, measure, sizes)  # type: ignore[arg-type]
    assert notes == []
    names = [kind.name for kind in ALL]
    assert seen[:: len(names)] == names[: sizes.rounds]
    assert sorted(seen) == sorted(names * sizes.rounds)
    assert {len(values) for values in line.values.values()} == {sizes.rounds}


def test_a_contender_that_fails_has_a_note_and_no_figures() -> None:
    """The others are measured all the same; if ours fails, nothing counts."""

    def measure(site: object, kind: type, sizes: object) -> dict[Claim, float]:
        if kind.name == failing:
            raise AssertionError("3 of 5 changes came")
        return {RATE: 1.0}

    failing = "poller"
    (line,), notes = lines_of(None, measure, FORMS["full"])  # type: ignore[arg-type]
    assert notes == ["measure: poller did not come to its end: 3 of 5 changes came"]
    assert list(line.values) == [kind.name for kind in ALL if kind.name != failing]
    failing = TxidSync.name
    with pytest.raises(AssertionError, match="3 of 5"):
        lines_of(None, measure, FORMS["full"])  # type: ignore[arg-type]


def test_pgsync_is_pinned_with_all_that_it_brings() -> None:
    """Every requirement names one version, and PGSync is the one that is compared with."""
    lines = [r for r in pgsync.REQUIREMENTS.read_text().splitlines() if not r.startswith("#")]
    assert lines
    assert [r for r in lines if r.count("==") != 1] == []
    assert pgsync.pinned("pgsync") == "7.3.0"
    assert pgsync.pinned("elasticsearch").startswith("7.17.")


def test_a_missing_redis_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says how to get it, before anything is started."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ServerError) as caught:
        Redis()
    assert "apt-get install redis-server" in caught.value.hint


def test_the_page_tells_the_command_and_every_measure() -> None:
    """docs/comparison.md names the command and what is measured; the README leads to it."""
    root = Path(__file__).parents[2]
    page = (root / "docs/comparison.md").read_text()
    assert "make bench-peers" in page
    assert [name for name in MEASURES if f"`{name}`" not in page] == []
    assert "docs/comparison.md" in (root / "README.md").read_text()
    assert "{table}" in rows.SCRIPT
