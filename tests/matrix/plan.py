"""Which tests run on which servers: the pairs, and what one pytest run does for a pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from txid_sync.dev import elasticsearch
from txid_sync.dev.engines import ENGINES
from txid_sync.dev.postgres import DEFAULT_VERSION, VERSIONS

# Every PostgreSQL once, every engine at least once; neighbours differ in both.
DIAGONAL = (
    ("13", "elasticsearch-8.19.20"),
    ("14", "opensearch-2.19.1"),
    ("15", "elasticsearch-9.5.3"),
    ("16", "opensearch-3.8.0"),
    ("17", "elasticsearch-8.19.20"),
    ("18", "elasticsearch-9.5.3"),
)
DEFAULT = (DEFAULT_VERSION, f"elasticsearch-{elasticsearch.DEFAULT_VERSION}")
ALL_PAIRS = tuple((version, engine) for engine in ENGINES for version in VERSIONS)

PAIR = ("tests/matrix/test_pair.py",)
OF_POSTGRES = ("tests/conformance/test_source.py", "tests/conformance/test_source_pages.py")
OF_ENGINE = ("tests/conformance/test_sink.py", "tests/conformance/test_progress.py")
# What `pytest` alone runs on the default servers, and the full matrix on all.
MORE_OF_POSTGRES = (
    "tests/integration/test_capture_bulk.py",
    "tests/integration/test_capture_keys.py",
    "tests/integration/test_capture_operations.py",
    "tests/integration/test_capture_partitions.py",
    "tests/integration/test_capture_rights.py",
    "tests/integration/test_capture_subscription.py",
    "tests/integration/test_schema.py",
    "tests/integration/test_source_order.py",
    "tests/integration/test_source_pages.py",
    "tests/integration/test_source_rights.py",
    "tests/integration/test_source_values.py",
)
MORE_OF_ENGINE = (
    "tests/matrix/test_crash.py",
    "tests/integration/test_elasticsearch_errors.py",
    "tests/integration/test_elasticsearch_progress.py",
    "tests/integration/test_elasticsearch_values.py",
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of pytest on one pair of servers.

    `left_out` says why the pair cannot run; then only what needs PostgreSQL alone is in `files`.
    """

    postgres: str
    engine: str
    files: tuple[str, ...]
    left_out: str = ""

    @property
    def arguments(self) -> Sequence[str]:
        """Those of pytest; what needs no server does not depend on versions."""
        servers = ["--postgres", self.postgres, "--engine", self.engine]
        return [*servers, "-k", "not memory", *self.files]


def runs_of(
    pairs: Iterable[tuple[str, str]], missing: Mapping[str, str], more: bool
) -> list[Run]:
    """The runs for these pairs: each version's own suites once, the pair's suite for each pair.

    An engine's own are run with the newest of its PostgreSQL versions, which has all types.
    `missing` maps engines to why they cannot run here; their PostgreSQL versions are tested all
    the same.
    """
    found = []
    pairs, seen = [*pairs], set[str]()
    newest = {engine: version for version, engine in sorted(pairs, key=lambda pair: int(pair[0]))}
    for postgres, engine in pairs:
        files: tuple[str, ...] = ()
        if postgres not in seen:
            files += OF_POSTGRES + (MORE_OF_POSTGRES if more else ())
        seen.add(postgres)
        if engine not in missing:
            if newest[engine] == postgres:
                files += OF_ENGINE + (MORE_OF_ENGINE if more else ())
            files += PAIR
        found.append(Run(postgres, engine, files, missing.get(engine, "")))
    return found
