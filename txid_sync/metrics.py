"""What a daemon says of itself, as Prometheus text and as plain values for JSON.  Pure.

Rules
-----
1. A counter counts since this process began: what is stored may be a second older after a crash,
   and a counter that falls a little is taken for one that began anew.
2. What is not known is left out (text) or null (JSON), never 0.
3. Moments are told, not times since; units are in the names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from txid_sync.pipeline_status import PipelineStatus, Report

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "txid_sync_"

Labels = dict[str, str]
Sample = tuple[Labels, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric without its values; `name` is that behind the prefix."""

    name: str
    kind: str
    help: str


METRICS = tuple(
    Metric(*entry)
    for entry in (
        ("build_info", "gauge", "1, with the version as a label."),
        ("healthy", "gauge", "1 if the daemon is started and waits for no server, else 0."),
        ("acknowledged_documents_total", "counter", "Documents that the sink has taken."),
        ("acknowledged_pages_total", "counter", "Pages that the sink has taken."),
        ("dead_letters_total", "counter", "Documents that source or sink refused for good."),
        ("resyncs_total", "counter", "Times that documents had to be written again."),
        ("errors_total", "counter", "Times that a server did not answer, by server."),
        ("in_flight_pages", "gauge", "Pages on their way to the sink."),
        ("in_flight_documents", "gauge", "Documents on their way to the sink."),
        ("clock_transactions", "gauge", "Transactions that have ended in the source."),
        ("complete_clock_transactions", "gauge", "Of these, those that the sink has all of."),
        ("lag_transactions", "gauge", "Transactions that may not be in the sink yet."),
        ("epoch", "gauge", "The epoch of all versions."),
        ("load_documents", "gauge", "Documents written by the load of a document so far."),
        ("load_rows_estimate", "gauge", "About how many rows the table that is loaded has."),
        ("sweep_candidates", "gauge", "Candidates looked up by the sweep of a document so far."),
        ("divergent_documents", "gauge", "Documents that the verification found to differ."),
        ("last_step_timestamp_seconds", "gauge", "When the pipeline was at work last."),
        ("last_error_timestamp_seconds", "gauge", "When a server did not answer last."),
    )
)


def as_text(report: Report, version: str) -> str:
    """All metrics of a report."""
    return "".join(_lines(report, version))


def as_json(report: Report, version: str) -> dict[str, Any]:
    """A report as plain values; names may be added later, none is taken away."""
    status = report.status
    value = {
        "pipeline": report.pipeline,
        "version": version,
        "healthy": report.healthy,
        "started": status is not None,
        "outage": report.outage or None,
        "last_error": report.last_error or None,
        "last_error_at_seconds": report.last_error_at or None,
        "last_step_at_seconds": report.stepped_at or None,
        "errors": dict(report.errors),
    }
    if status is None:
        return value
    lag = status.lag_transactions if status.lag_known else None
    return {**value, **asdict(status), "lag_transactions": lag}


def _lines(report: Report, version: str) -> Iterator[str]:
    samples = {
        "build_info": [({"version": version}, 1.0)],
        **_health(report),
        **(_figures(report.status) if report.status else {}),
        **(_counters(report.status, report.first) if report.status and report.first else {}),
    }
    for metric in METRICS:
        found = samples.get(metric.name)
        if not found:
            continue
        yield f"# HELP {PREFIX}{metric.name} {metric.help}\n"
        yield f"# TYPE {PREFIX}{metric.name} {metric.kind}\n"
        for labels, value in found:
            of = labels if metric.name == "build_info" else {"pipeline": report.pipeline, **labels}
            yield f"{PREFIX}{metric.name}{{{_labels(of)}}} {_number(value)}\n"


def _health(report: Report) -> dict[str, list[Sample]]:
    return {
        "healthy": [({}, float(report.healthy))],
        "errors_total": [({"server": server}, n) for server, n in report.errors.items()],
        "last_step_timestamp_seconds": _known(report.stepped_at or None),
        "last_error_timestamp_seconds": _known(report.last_error_at or None),
    }


def _counters(status: PipelineStatus, first: PipelineStatus) -> dict[str, list[Sample]]:
    """Rule 1."""
    names = ("acknowledged_documents", "acknowledged_pages", "dead_letters", "resyncs")
    return {f"{n}_total": [({}, getattr(status, n) - getattr(first, n))] for n in names}


def _figures(status: PipelineStatus) -> dict[str, list[Sample]]:
    loads = [task for task in status.tasks if task.phase == "load"]
    sweeps = [task for task in status.tasks if task.phase == "sweep"]
    known = status.lag_known
    return {
        "in_flight_pages": [({}, status.in_flight)],
        "in_flight_documents": [({}, status.read_documents - status.acknowledged_documents)],
        "clock_transactions": _known(status.clock or None),
        "complete_clock_transactions": _known(status.complete_clock if known else None),
        "lag_transactions": _known(status.lag_transactions if known else None),
        "epoch": [({}, status.epoch)],
        "load_documents": [({"document": task.document}, task.done) for task in loads],
        "load_rows_estimate": [
            ({"document": task.document}, task.rows) for task in loads if task.rows is not None
        ],
        "sweep_candidates": [({"document": task.document}, task.done) for task in sweeps],
        "divergent_documents": _known(status.divergence),
    }


def _known(value: float | None) -> list[Sample]:
    """Rule 2."""
    return [] if value is None else [({}, value)]


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    """Whole numbers as they are, however large.

    >>> _number(2**60 + 1), _number(1.0), _number(1700000000.25)
    ('1152921504606846977', '1', '1700000000.25')
    """
    return str(int(value)) if value == int(value) else repr(float(value))
