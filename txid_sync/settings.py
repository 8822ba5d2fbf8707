"""Every setting of txid-sync, once: its default, range and meaning.

The sections of the configuration are frozen dataclasses; what parsing, `config show` and the docs
need to know of a setting stands in the metadata of its field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar, cast

from txid_sync.model import MAX_PAGE_BYTES, MAX_PAGE_DOCUMENTS, Document, Limits

Value = str | int | float
T = TypeVar("T", bool, int, float, str)

ENVIRONMENT_PREFIX = "TXID_SYNC_"
SINK_TYPES = ("elasticsearch", "opensearch", "discard")
CAPTURES = ("statement", "row")
DISCONTINUITY = ("resync", "stop")
COMPRESS = ("auto", "always", "never")
ONE_DAY_SECONDS = 86_400


def _setting(default: T, meaning: str, **rules: object) -> T:
    found: T = field(default=default, metadata={"meaning": meaning, **rules})
    return found


def _within(least: float, most: float) -> dict[str, float]:
    return {"least": least, "most": most}


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """Section [pipeline]: how much at a time, how often."""

    name: str = _setting("main", "name of the pipeline; progress is kept under it")
    load: bool = _setting(True, "write all rows first; false: begin with the changes from now on")
    page_documents: int = _setting(
        Limits().documents, "documents in one page at most", **_within(1, MAX_PAGE_DOCUMENTS)
    )
    page_bytes: int = _setting(
        Limits().body_bytes, "bytes in one page, about", **_within(1, MAX_PAGE_BYTES)
    )
    in_flight: int = _setting(2, "bulk requests in flight at most", **_within(1, 64))
    skim_entries: int = _setting(
        100_000, "log entries listed at a time, so that a long backlog has each key once; 0: never",
        **_within(0, 10_000_000),
    )
    poll_interval_seconds: float = _setting(
        0.3, "longest sleep between two polls", **_within(0.001, ONE_DAY_SECONDS)
    )
    save_interval_seconds: float = _setting(
        1.0, "how often progress is saved", **_within(0, ONE_DAY_SECONDS)
    )
    prune_interval_seconds: float = _setting(
        10.0, "how often the change logs are pruned; 0: never", **_within(0, ONE_DAY_SECONDS)
    )
    marker_interval_seconds: float = _setting(
        60.0, "how often a marker is written at rest; 0: never", **_within(0, ONE_DAY_SECONDS)
    )
    deadline_seconds: float = _setting(
        60.0, "a page older than this is read again", **_within(1, ONE_DAY_SECONDS)
    )
    status_interval_seconds: float = _setting(
        10.0, "how often a status line is printed", **_within(0.1, ONE_DAY_SECONDS)
    )
    brake_share: float = _setting(
        0.2, "a sweep that would delete a larger share of an index stops", **_within(0, 1)
    )
    on_discontinuity: str = _setting(
        "resync", "where progress does not fit source or sink any more", choices=DISCONTINUITY
    )
    verify_interval_seconds: float = _setting(
        0.0, "verify everything once in this time, beside the stream; 0: never",
        **_within(0, 366 * ONE_DAY_SECONDS),
    )
    verify_repair: bool = _setting(False, "write again what that finds to differ")


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Section [source]: the PostgreSQL server."""

    dsn: str = _setting(
        "", "libpq connection string, passed on as it is; empty: the PG* environment", secret=True
    )
    connect_attempts: int = _setting(
        5, "how often the first connection is tried", **_within(1, 1_000_000)
    )
    retry_period_seconds: float = _setting(
        2.0, "time between two attempts", **_within(0, ONE_DAY_SECONDS)
    )


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """Section [sink]: where documents go; without this section a run is a dry run."""

    type: str = _setting("elasticsearch", "kind of sink", choices=SINK_TYPES)
    url: str = _setting(
        "http://localhost:9200", "URL of a node, or an array of them", secret=True, many=True
    )
    api_key: str = _setting("", "encoded API key", secret=True)
    api_key_file: str = _setting("", "file that holds the API key", file_for="api_key")
    user: str = _setting("", "user name")
    password: str = _setting("", "password", secret=True)
    password_file: str = _setting("", "file that holds the password", file_for="password")
    ca_file: str = _setting("", "PEM file of the authority that signed the server's certificate")
    compress: str = _setting(
        "auto", "gzip of request bodies; auto: where a node is on another machine", choices=COMPRESS
    )
    progress_index: str = _setting("txid-sync-progress", "index that keeps progress", index=True)
    dead_letter_index: str = _setting(
        "txid-sync-dead-letters", "index of the documents that were refused", index=True
    )


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """Section [status]: how a running pipeline can be asked."""

    listen: str = _setting(
        "", "HOST:PORT for HTTP; a port alone: on 127.0.0.1; empty: off", address=True
    )


SECTIONS: Mapping[str, type[Any]] = {
    "pipeline": PipelineSettings,
    "source": SourceSettings,
    "sink": SinkSettings,
    "status": StatusSettings,
}

DOCUMENT_KEYS: Mapping[str, str] = {
    "table": "the table, as in a query: `orders`, `shop.orders`, `\"Order\"`; required",
    "index": "the index; default: the table's name without its schema, in lower case",
    "columns": "array of the columns to send; default: all",
    "where": "SQL condition over immutable expressions; rows outside it have no document",
    "capture": "`statement` or `row`; default: by the kind of table",
    "mapping": "table of index mappings by column, `mapping.price = {type = \"keyword\"}`",
}


@dataclass(frozen=True, slots=True)
class Config:
    """An effective configuration; `sink` None is a dry run.

    `origins` tells where each value came from, by `section.key`.
    """

    pipeline: PipelineSettings
    source: SourceSettings
    sink: SinkSettings | None
    documents: tuple[Document, ...]
    origins: Mapping[str, str]
    status: StatusSettings = StatusSettings()


def settings_of(section: str) -> tuple[Field[Any], ...]:
    """The settings of a section, in the order of their declaration."""
    return fields(SECTIONS[section])


def default_of(setting: Field[Any]) -> Value:
    """The value of a setting that nobody has set."""
    return cast("Value", setting.default)


def environment_name(section: str, key: str) -> str:
    """The environment variable that sets a key.

    >>> environment_name("source", "dsn")
    'TXID_SYNC_SOURCE_DSN'
    """
    return f"{ENVIRONMENT_PREFIX}{section}_{key}".upper()
