"""Fixtures: real servers, started when first asked for, once per session.

postgres_server, elasticsearch_server, elasticsearch_url (session); database, index_prefix, seed.
`--postgres` and `--engine` choose their versions; tests/matrix runs all of them.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator

import hypothesis
import pytest

from tests.support import Database
from txid_sync.dev import PostgresServer, SearchServer, elasticsearch, engines, postgres
from txid_sync.dev.postgres_binaries import RELEASES

KEPT = ("TXID_SYNC_CACHE", "TXID_SYNC_SEED")
SCRUBBED = ("PG", "TXID_SYNC_", "POSTGRES_CONFIG", "ELASTICSEARCH_URL")
NUMBERS = itertools.count(1)
# Processes take whole files, in this order and then that of the folders.
SLOWEST = (
    "tests/chaos/test_fuzz.py",
    "tests/integration/test_standby.py",
    "tests/integration/test_processes.py",
    "tests/integration/test_dev_servers.py",
    "tests/faults/test_sink_wire.py",
    "tests/faults/test_servers.py",
    "tests/integration/test_cli_life.py",
    "tests/model/test_pipelines.py",
    "tests/integration/test_benchmarks.py",
    "tests/faults/test_source_wire.py",
    "tests/integration/test_workers.py",
    "tests/integration/test_elasticsearch_faults.py",
    "tests/integration/test_verify_stress.py",
    "tests/faults/test_disks.py",
    "tests/security/test_names.py",
    "tests/integration/test_failovers.py",
    "tests/soak/test_soak.py",
    "tests/model/test_exhaustive.py",
)


def scrub_environment() -> None:
    """Tests must not depend on, or reach, the servers of whoever runs them."""
    for name in list(os.environ):
        if name.startswith(SCRUBBED) and name not in KEPT:
            del os.environ[name]


scrub_environment()
SEED = int(os.environ.get("TXID_SYNC_SEED") or random.SystemRandom().randrange(2**32))
os.environ["TXID_SYNC_SEED"] = str(SEED)  # for the processes that share a run

# No deadline per example: the servers share the machine's cores with the test.
hypothesis.settings.register_profile("dev", deadline=None, print_blob=True, max_examples=100)
hypothesis.settings.register_profile(
    "ci", deadline=None, print_blob=True, max_examples=200, derandomize=True
)
hypothesis.settings.register_profile(
    "nightly", deadline=None, print_blob=True, max_examples=100_000
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which servers the fixtures start."""
    group = parser.getgroup("servers")
    group.addoption(
        "--postgres",
        default=postgres.DEFAULT_VERSION,
        choices=postgres.VERSIONS,
        help="major version of PostgreSQL (default: %(default)s)",
    )
    group.addoption(
        "--engine",
        default=f"elasticsearch-{elasticsearch.DEFAULT_VERSION}",
        choices=tuple(engines.ENGINES),
        help="the search engine (default: %(default)s)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that no process ends long after the others."""
    place = {name: number for number, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What a failure has to be repeated with, and what cannot run here at all."""
    chosen = config.option.postgres, config.option.engine
    release, title = RELEASES[chosen[0]], engines.ENGINES[chosen[1]].title
    return [
        f"servers: PostgreSQL {release}, {title} (started when first needed)",
        *(f"LEFT OUT on this machine: {e}: {why}" for e, why in engines.left_out().items()),
        f"seed: TXID_SYNC_SEED={SEED}",
    ]


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[PostgresServer]:
    """A PostgreSQL of the chosen version; do not stop it, other tests use it too."""
    with PostgresServer(pytestconfig.option.postgres) as server:
        yield server


@pytest.fixture(scope="session")
def elasticsearch_server(pytestconfig: pytest.Config) -> Iterator[SearchServer]:
    """A node of the chosen engine; do not stop it, other tests use it too."""
    with SearchServer(pytestconfig.option.engine) as server:
        yield server


@pytest.fixture(scope="session")
def elasticsearch_url(elasticsearch_server: SearchServer) -> str:
    """Its base address."""
    return elasticsearch_server.url


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """A fresh database, dropped afterwards."""
    name = f"test_{os.getpid()}_{next(NUMBERS)}"
    fresh = Database(name, postgres_server.createdb(name))
    yield fresh
    fresh.close()
    postgres_server.dropdb(name)


@pytest.fixture
def index_prefix(elasticsearch_server: SearchServer) -> Iterator[str]:
    """A prefix for index names that no other test has; its indices are deleted afterwards."""
    prefix = f"test-{os.getpid()}-{next(NUMBERS)}-"
    yield prefix
    elasticsearch_server.delete_indices(prefix)


@pytest.fixture
def seed() -> int:
    """The session's seed, printed in the header; TXID_SYNC_SEED repeats a run."""
    return SEED
