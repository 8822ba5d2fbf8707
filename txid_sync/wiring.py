"""From a configuration to a running pipeline; the one place that names concrete adapters.

For a program of its own, see docs/embedding.md: `with assemble(config) as assembly:` gives a
pipeline to drive, or a daemon that drives it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from txid_sync import failpoints
from txid_sync.daemon import Daemon, DaemonOptions
from txid_sync.model import Limits
from txid_sync.pipeline import Pipeline, PipelineOptions, PipelineStatus
from txid_sync.progress.base import ProgressStore
from txid_sync.progress.elasticsearch import ElasticsearchProgress
from txid_sync.progress.memory import MemoryProgress
from txid_sync.settings import Config, SinkSettings
from txid_sync.share import WHOLE, Share
from txid_sync.sinks.base import Sink
from txid_sync.sinks.discard import DiscardSink
from txid_sync.sinks.elasticsearch import ElasticsearchSettings, ElasticsearchSink
from txid_sync.sources.base import Source
from txid_sync.sources.postgres import PostgresSource


@dataclass(frozen=True, slots=True)
class Choices:
    """What a single run may decide beside its configuration.

    `dry_run` reads changes and writes nothing anywhere; `deletes_allowed` takes the brake off;
    `share`: this process is one of several workers.
    `may_resync` answers whatever does not fit by a resync, though the configuration says stop.
    """

    dry_run: bool = False
    load: bool | None = None
    deletes_allowed: bool = False
    may_resync: bool = False
    share: Share = WHOLE


@dataclass(frozen=True, slots=True)
class Assembly:
    """A pipeline with its parts; all of them unconnected until the pipeline is started."""

    config: Config
    source: Source
    sink: Sink
    store: ProgressStore
    pipeline: Pipeline

    def daemon(
        self,
        stop: threading.Event,
        on_status: Callable[[PipelineStatus], None] = lambda _: None,
    ) -> Daemon:
        """The loop around the pipeline; ends when `stop` is set."""
        pipeline, source = self.config.pipeline, self.config.source
        options = DaemonOptions(
            poll_interval_seconds=pipeline.poll_interval_seconds,
            status_interval_seconds=pipeline.status_interval_seconds,
            connect_attempts=source.connect_attempts,
            retry_period_seconds=source.retry_period_seconds,
        )
        return Daemon(self.pipeline, options, stop, on_status)


@contextmanager
def assemble(config: Config, choices: Choices | None = None) -> Iterator[Assembly]:
    """Build everything that a configuration asks for, and close it in the end."""
    choices = choices or Choices()
    source = make_source(config, choices.share)
    sink = make_sink(None if choices.dry_run else config.sink, config)
    store = make_store(None if choices.dry_run else config.sink)
    pipeline = Pipeline(
        config.pipeline.name,
        source,
        sink,
        store,
        config.documents,
        pipeline_options(config, choices),
        failpoints.of_process(os.environ),
        share=choices.share,
    )
    try:
        yield Assembly(config, source, sink, store, pipeline)
    finally:
        source.close()
        sink.close()
        close_store(store)


def make_source(config: Config, share: Share = WHOLE) -> Source:
    """The source of a configuration, not connected yet."""
    return PostgresSource(config.source.dsn, config.documents, share)


def make_sink(settings: SinkSettings | None, config: Config) -> Sink:
    """A sink, not connected yet; without settings one that throws everything away."""
    if settings is None or settings.type == "discard":
        return DiscardSink()
    return ElasticsearchSink(
        elasticsearch_settings(settings),
        in_flight=config.pipeline.in_flight,
        deadline_seconds=config.pipeline.deadline_seconds,
        dead_letter_index=settings.dead_letter_index,
    )


def make_store(settings: SinkSettings | None) -> ProgressStore:
    """Where progress is kept: beside the documents, or nowhere if those are thrown away."""
    if settings is None or settings.type == "discard":
        return MemoryProgress()
    return ElasticsearchProgress(elasticsearch_settings(settings), settings.progress_index)


def close_store(store: ProgressStore) -> None:
    """Let go of a store's connection, if it has one."""
    if isinstance(store, ElasticsearchProgress):
        store.close()


def elasticsearch_settings(settings: SinkSettings) -> ElasticsearchSettings:
    """The part of the sink's settings that says where it is and how to log in."""
    return ElasticsearchSettings(
        url=settings.url,
        api_key=settings.api_key,
        user=settings.user,
        password=settings.password,
        ca_file=settings.ca_file,
        compress=settings.compress,
    )


def pipeline_options(config: Config, choices: Choices) -> PipelineOptions:
    """The options of the pipeline, with what this run decided for itself."""
    settings = config.pipeline
    # Where nothing is kept nothing is noted in the source.
    dry = choices.dry_run or config.sink is None or config.sink.type == "discard"
    return PipelineOptions(
        limits=Limits(settings.page_documents, settings.page_bytes),
        in_flight=settings.in_flight,
        skim_entries=settings.skim_entries,
        save_interval_seconds=settings.save_interval_seconds,
        prune_interval_seconds=0.0 if dry else settings.prune_interval_seconds,
        marker_interval_seconds=0.0 if dry else settings.marker_interval_seconds,
        deadline_seconds=settings.deadline_seconds,
        brake_share=settings.brake_share,
        brake_off=choices.deletes_allowed,
        load=settings.load if choices.load is None else choices.load,
        may_resync=choices.may_resync or settings.on_discontinuity == "resync",
    )
