"""What a daemon says of itself: as Prometheus text, as JSON, and how it gets there."""

from __future__ import annotations

import doctest
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.pipelines import World, drain
from txid_sync import address, metrics, pipeline_status
from txid_sync.daemon import Daemon, DaemonOptions
from txid_sync.errors import SinkUnavailable, SourceUnavailable
from txid_sync.metrics import METRICS, PREFIX, as_json, as_text
from txid_sync.pipeline_status import PipelineStatus, Report, Task

FIRST = PipelineStatus("sync", 3, 90, 0, 1000, 1000, 40, 2, 0, 0, (), ())
STATUS = replace(
    FIRST, phase="load", clock=100, complete_clock=97, read_documents=1500, in_flight=2,
    acknowledged_documents=1300, acknowledged_pages=47, dead_letters=3, resyncs=1, divergence=0,
    loading=("a", "b"), sweeping=("b",),
    tasks=(Task("a", "load", 300, 5000), Task("b", "load", 7), Task('c"\\\n', "sweep", 9)),
)  # fmt: skip
REPORT = Report(
    "main", STATUS, FIRST, "", "the sink is away", 1700000000.25, 1700000001.5,
    {"source": 0, "sink": 4},
)  # fmt: skip
LABEL = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"[a-z_]+\{{{LABEL}(,{LABEL})*\}} [0-9.e+-]+")


def values(text: str) -> dict[str, str]:
    """The samples of a text, by name and labels without that of the pipeline."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    pairs = (line.rpartition(" ") for line in lines)
    cut = re.compile(r'pipeline="main",|\{pipeline="main"\}')
    return {cut.sub("", name.removeprefix(PREFIX)): value for name, _, value in pairs}


@pytest.mark.parametrize("module", [metrics, pipeline_status, address])
def test_doctests(module: object) -> None:
    """The examples in the docstrings are true."""
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


def test_every_figure_is_told() -> None:
    """Each metric has its value; counters begin with the process, not with the pipeline."""
    assert values(as_text(REPORT, "1.2.3")) == {
        'build_info{version="1.2.3"}': "1",
        "healthy": "1",
        "acknowledged_documents_total": "300",
        "acknowledged_pages_total": "7",
        "dead_letters_total": "1",
        "resyncs_total": "1",
        'errors_total{server="source"}': "0",
        'errors_total{server="sink"}': "4",
        "in_flight_pages": "2",
        "in_flight_documents": "200",
        "clock_transactions": "100",
        "complete_clock_transactions": "97",
        "lag_transactions": "3",
        "epoch": "3",
        'load_documents{document="a"}': "300",
        'load_documents{document="b"}': "7",
        'load_rows_estimate{document="a"}': "5000",
        'sweep_candidates{document="c\\"\\\\\\n"}': "9",
        "divergent_documents": "0",
        "last_step_timestamp_seconds": "1700000001.5",
        "last_error_timestamp_seconds": "1700000000.25",
    }


def test_the_text_has_the_shape_of_the_format() -> None:
    """Each metric has HELP and TYPE before its samples, each once; counters end in _total."""
    lines = as_text(REPORT, "1").splitlines()
    assert as_text(REPORT, "1").endswith("\n")
    seen: list[str] = []
    for number, line in enumerate(lines):
        if line.startswith("# HELP "):
            seen.append(line.split()[2])
            assert lines[number + 1].split()[:3] == ["#", "TYPE", seen[-1]]
        elif not line.startswith("# TYPE "):
            assert SAMPLE.fullmatch(line), line
            assert re.split(r"[{ ]", line)[0] == seen[-1]
    assert seen == [PREFIX + metric.name for metric in METRICS]
    for metric in METRICS:
        assert (metric.kind == "counter") == metric.name.endswith("_total")


def test_what_is_not_known_is_left_out() -> None:
    """Before the start there are no figures, and after it none that are not known yet."""
    assert set(values(as_text(Report("main"), "1"))) == {'build_info{version="1"}', "healthy"}
    assert values(as_text(Report("main"), "1"))["healthy"] == "0"
    early = values(as_text(replace(REPORT, status=FIRST), "1"))
    absent = {"lag_transactions", "complete_clock_transactions", "divergent_documents"}
    assert not absent & set(early)
    assert not Report("main").healthy
    assert as_json(Report("main"), "1")["started"] is False
    assert as_json(replace(REPORT, status=FIRST), "1")["lag_transactions"] is None


def test_json_has_the_figures_of_the_pipeline() -> None:
    """All of the status as it is, over all crashes, and the last error."""
    value = as_json(replace(REPORT, outage="the sink is away"), "1")
    assert value["acknowledged_documents"] == 1300
    assert value["tasks"][0] == {"document": "a", "phase": "load", "done": 300, "rows": 5000}
    assert (value["healthy"], value["last_error"]) == (False, "the sink is away")
    assert set(PipelineStatus.__slots__) <= set(value)
    assert (value["lag_transactions"], value["divergence"]) == (3, 0)


def test_the_docs_name_every_metric() -> None:
    """The table of docs/running.md has each metric with its type and meaning, and no other."""
    page = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `txid_sync_(\w+)` \| (\w+) \|[^|]*\| (.+) \|$", page, re.MULTILINE)
    assert rows == [(metric.name, metric.kind, metric.help) for metric in METRICS]


def test_an_outage_is_told_until_it_is_over() -> None:
    """The daemon is unhealthy before its start and while a server is away, and counts errors."""
    world = World()
    world.write("a", 1)
    pipeline, stop = world.pipeline(), threading.Event()
    options = DaemonOptions(retry_period_seconds=0.0, longest_delay_seconds=0.001)
    daemon = Daemon(pipeline, options, stop)
    steps, started = pipeline.step, pipeline.start
    seen: list[Report] = [daemon.report()]
    script = [SourceUnavailable("source away"), None, SinkUnavailable("sink away"), None, None]

    def start() -> None:
        if len(seen) == 1:
            seen.append(daemon.report())
            raise SourceUnavailable("not yet")
        seen.append(daemon.report())
        started()

    def step() -> bool:
        seen.append(daemon.report())
        error = script.pop(0)
        if not script:
            stop.set()
        if error is not None:
            raise error
        return steps()

    pipeline.start, pipeline.step = start, step  # type: ignore[method-assign]
    daemon.run()
    outages = [(r.outage, r.healthy) for r in seen]
    assert outages == [
        ("", False), ("", False), ("not yet", False), ("", True), ("source away", False),
        ("", True), ("sink away", False), ("", True),
    ]  # fmt: skip
    last = daemon.report()
    assert (last.errors, last.last_error) == ({"source": 2, "sink": 1}, "sink away")
    assert last.stepped_at > last.last_error_at > 0


def test_a_load_and_a_sweep_tell_how_far_they_are() -> None:
    """Documents written by the load, over a crash; candidates looked up by the sweep after it."""
    world = World()
    world.write("a", *range(6))
    first = world.pipeline()
    first.start()
    (before,) = [task for task in first.status().tasks if task.document == "a"]
    assert (before.phase, before.done, before.rows) == ("load", 0, 6)
    seen = set()
    while not seen:
        first.step()
        seen = {task.done for task in first.status().tasks if task.document == "a"} - {0}
    assert seen == {2}
    second = world.pipeline()  # the first one is killed
    second.start()
    assert Task("a", "load", 2, 6) in second.status().tasks
    drain(second)
    assert second.status().tasks == ()
    assert "load_documents" not in second.progress.to_json()


def test_a_sweep_counts_its_candidates_over_a_crash() -> None:
    """Ghosts that were looked up stay counted; at the end nothing is left of the count."""
    world = World(options=replace(World().options, brake_off=True))
    world.write("a", *range(5))
    pipeline = world.pipeline()
    pipeline.start()
    drain(pipeline)
    pipeline.stop()
    with world.database.transaction() as session:
        session.truncate("a")
    world.write("a", 9)
    pipeline = world.pipeline()
    pipeline.start()
    counted: list[int] = []
    for _ in range(200):
        busy = pipeline.step()
        counted += [t.done for t in pipeline.status().tasks if t.phase == "sweep"]
        if counted and counted[-1] == 5:
            pipeline = world.pipeline()  # killed
            pipeline.start()
            assert [t.done for t in pipeline.status().tasks] == [5]
            break
        assert busy, counted
    drain(pipeline)
    assert pipeline.status().tasks == ()
    assert "sweep_candidates" not in pipeline.progress.to_json()
    world.assert_equal()
