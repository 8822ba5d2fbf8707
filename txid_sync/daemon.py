"""The loop around a pipeline: step until nothing is left, rest, come back; outlive outages.

Before the first success a server that does not answer is tried `connect_attempts` times, then the
program ends; after it, for ever, with capped, jittered delays.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from txid_sync.backoff import delay_seconds
from txid_sync.errors import PageExpired, SourceBehind, SourceUnavailable, Unavailable
from txid_sync.pipeline import Pipeline, PipelineStatus
from txid_sync.pipeline_status import Report

log = logging.getLogger("txid_sync")

SHORTEST_REST_SECONDS = 0.002
REST_GROWTH = 1.1  # so that a rest is about a tenth of the time since something was new


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """Times in seconds; `poll_interval_seconds` is the longest rest between two polls."""

    poll_interval_seconds: float = 0.3
    status_interval_seconds: float = 10.0
    connect_attempts: int = 5
    retry_period_seconds: float = 2.0
    longest_delay_seconds: float = 30.0


class Daemon:
    """Runs a pipeline until `stop` is set, or once until it has caught up."""

    def __init__(
        self,
        pipeline: Pipeline,
        options: DaemonOptions,
        stop: threading.Event,
        on_status: Callable[[PipelineStatus], None] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._options = options
        self._stop = stop
        self._on_status = on_status
        self._status_at = 0.0
        self._report = Report(pipeline.name, errors={"source": 0, "sink": 0})

    def run(self, once: bool = False) -> None:
        """Run; with `once` return as soon as the sink holds all that the source held at the start.

        Raises Stop errors.
        On the way out the requests in flight are finished and progress is saved.
        """
        self._start()
        rest_seconds = SHORTEST_REST_SECONDS
        failures = goal_clock = 0
        while not self._stop.is_set():
            try:
                busy = self._pipeline.recover_and_step() if failures else self._pipeline.step()
            except Unavailable as error:
                failures += 1
                self._outage(error, failures)
                continue
            failures = 0
            self._report = replace(self._report, outage="", stepped_at=time.time())
            self._show_status()
            if once:
                status = self._pipeline.status()
                goal_clock = goal_clock or status.clock
                if status.phase == "sync" and status.complete_clock >= goal_clock > 0:
                    break
            if busy:
                rest_seconds = SHORTEST_REST_SECONDS
            else:
                self._stop.wait(rest_seconds)
                rest_seconds = min(
                    rest_seconds * REST_GROWTH, self._options.poll_interval_seconds
                )
        self._finish()

    def report(self) -> Report:
        """What it says of itself now; may be asked from any thread."""
        report = self._report
        return replace(report, status=self._pipeline.status()) if report.first else report

    def _start(self) -> None:
        attempt = 1
        while True:
            try:
                self._pipeline.start()
                self._report = replace(self._report, outage="", first=self._pipeline.status())
                return
            except SourceBehind as error:
                if self._stop.is_set():
                    raise
                self._note(error)
                log.warning("%s", error.message, extra={"action": "waiting"})
                self._stop.wait(self._options.retry_period_seconds)
            except Unavailable as error:
                if attempt == self._options.connect_attempts or self._stop.is_set():
                    raise
                self._note(error)
                log.warning("%s: attempt %d", error.message, attempt, extra={"action": "retry"})
                self._stop.wait(self._options.retry_period_seconds)
                attempt += 1

    def _outage(self, error: Unavailable, failures: int) -> None:
        self._note(error)
        delay = delay_seconds(failures, random.random(), cap=self._options.longest_delay_seconds)
        if isinstance(error, PageExpired | SourceBehind):
            delay = min(delay, 1.0)
        action = "waiting" if isinstance(error, SourceBehind) else "reconnecting"
        log.warning("%s: again in %.1f s", error.message, delay, extra={"action": action})
        self._stop.wait(delay)

    def _note(self, error: Unavailable) -> None:
        server = "source" if isinstance(error, SourceUnavailable) else "sink"
        errors = {**self._report.errors, server: self._report.errors[server] + 1}
        self._report = replace(
            self._report, outage=error.message, last_error=error.message,
            last_error_at=time.time(), errors=errors,
        )  # fmt: skip

    def _show_status(self) -> None:
        now = time.monotonic()
        if now - self._status_at >= self._options.status_interval_seconds:
            self._status_at = now
            if self._on_status is not None:
                self._on_status(self._pipeline.status())

    def _finish(self) -> None:
        try:
            self._pipeline.stop()
        except Unavailable as error:
            log.warning(
                "%s: what was in flight will be read again", error.message,
                extra={"action": "stopped"},
            )  # fmt: skip
