"""Runs verifiers: one pass in the foreground, or pass after pass beside a pipeline."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from txid_sync import failpoints
from txid_sync.backoff import delay_seconds
from txid_sync.errors import Discontinuity, PreconditionError, TxidSyncError, Unavailable
from txid_sync.model import Document, Limits
from txid_sync.pipeline import Pipeline
from txid_sync.settings import Config
from txid_sync.verifier import Verifier, VerifyOptions
from txid_sync.wiring import close_store, make_sink, make_source, make_store

log = logging.getLogger("txid_sync")

ROOM = 1.1  # a pass of the background takes this much less than its time
ATTEMPTS = 5
LONGEST_WAIT_SECONDS = 60.0


@contextmanager
def opened(
    config: Config, documents: Sequence[Document], options: VerifyOptions, note: str = "verify"
) -> Iterator[Verifier]:
    """A verifier with a source, a sink and a store of its own."""
    source, sink = make_source(config), make_sink(config.sink, config)
    store = make_store(config.sink)
    failpoint = failpoints.of_process(os.environ)
    try:
        yield Verifier(
            config.pipeline.name, source, sink, store, documents, options, note, failpoint
        )
    finally:
        source.close()
        sink.close()
        close_store(store)


def options_of(
    config: Config, rate: float = 0.0, repair: bool = False, settle_seconds: float = 30.0
) -> VerifyOptions:
    """Options with the page sizes of the pipeline."""
    settings = config.pipeline
    limits = Limits(settings.page_documents, settings.page_bytes)
    return VerifyOptions(
        limits, rate, repair, settle_seconds, gate_seconds=settings.deadline_seconds
    )


def run_pass(
    verifier: Verifier,
    stop: threading.Event,
    patience_seconds: float | None = None,
    attempts: int | None = ATTEMPTS,
    on_step: Callable[[], None] = lambda: None,
) -> bool:
    """Drive a verifier to the end of its pass; False if `stop` was set before.

    A server that does not answer is tried `attempts` times in a row (None: for ever).  Raises
    PreconditionError when nothing can be settled and stored progress has not moved for so long.
    """
    failures, seen, since = 0, verifier.seen, time.monotonic()
    while not stop.is_set():
        try:
            pause = verifier.step()
        except Unavailable as error:
            failures += 1
            if attempts is not None and failures >= attempts:
                raise
            pause = delay_seconds(failures, random.random(), cap=30.0)
            log.warning("verify: %s: again in %.1f s", error.message, pause)
            stop.wait(pause)
            continue
        failures = 0
        if pause is None:
            return True
        on_step()
        now = time.monotonic()
        if not verifier.hindrance or verifier.seen != seen:
            seen, since = verifier.seen, now
        elif patience_seconds is not None and now - since >= patience_seconds:
            raise PreconditionError(
                f"nothing can be verified: {verifier.hindrance}, and progress does not move",
                "start 'txid-sync run', or wait longer: --wait",
            )
        stop.wait(pause)
    return False


@contextmanager
def beside(config: Config, pipeline: Pipeline) -> Iterator[None]:
    """Verify in a thread of its own as the configuration says."""
    interval = config.pipeline.verify_interval_seconds
    if not interval or config.sink is None or config.sink.type == "discard":
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(
        target=_passes, args=(config, pipeline, ended), name="txid-sync-verify", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5.0)


def _passes(config: Config, pipeline: Pipeline, stop: threading.Event) -> None:
    """Pass after pass; whatever goes wrong is said, and tried again later."""
    interval = config.pipeline.verify_interval_seconds
    while not stop.is_set():
        begun = time.monotonic()
        try:
            options = options_of(config, repair=config.pipeline.verify_repair)
            with opened(config, config.documents, options, "background") as verifier:
                _one_pass(verifier, config, pipeline, stop)
            rest = interval - (time.monotonic() - begun)
        except TxidSyncError as error:
            log.warning("verify: %s", error.message, extra={"action": "verify"})
            rest = min(interval, LONGEST_WAIT_SECONDS)
        except Exception:  # the pipeline must go on
            log.exception("verify failed", extra={"action": "verify"})
            rest = min(interval, LONGEST_WAIT_SECONDS)
        stop.wait(max(0.0, rest))


def _one_pass(
    verifier: Verifier, config: Config, pipeline: Pipeline, stop: threading.Event
) -> None:
    verifier.begin()
    pipeline.divergence = verifier.divergence
    interval = config.pipeline.verify_interval_seconds

    def show() -> None:
        pipeline.divergence = verifier.divergence

    while not stop.is_set():
        try:
            verifier.spread(interval / ROOM)
            break
        except (Unavailable, Discontinuity):
            stop.wait(1.0)
    if run_pass(verifier, stop, attempts=None, on_step=show):
        show()
