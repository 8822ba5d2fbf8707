"""A verifier beside a running pipeline and concurrent writers, on real servers."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg2
import pytest

from tests.integration.streams import World, world_of
from tests.support import eventually
from txid_sync.daemon import Daemon, DaemonOptions
from txid_sync.model import Document, Limits
from txid_sync.pipeline import Pipeline, PipelineOptions
from txid_sync.progress.elasticsearch import ElasticsearchProgress
from txid_sync.sinks.elasticsearch import ElasticsearchSettings, ElasticsearchSink
from txid_sync.sources.postgres import PostgresSource
from txid_sync.verifier import Verifier, VerifyOptions
from txid_sync.verify_state import Pass
from txid_sync.verifying import run_pass

pytestmark = pytest.mark.integration

ROWS = 300
WRITERS = 3
SECONDS = 20.0
UPSERT = (
    "insert into public.items values (%s, %s, 'h', 1) on conflict (id) do update"
    " set v = excluded.v"
)
TABLES = """
create table public.items (id int primary key, v text, hidden text, n int not null);
create table public.lines (x text, y int, v text, primary key (x, y));
insert into public.items select i, 'first', 'x', i % 5 from generate_series(1, 300) i;
insert into public.lines select 'a,' || i % 20, i, 'first' from generate_series(1, 300) i
"""


@dataclass
class Stress:
    """Tables, their indices, a daemon in a thread, and verifiers on them."""

    world: World
    server: Any
    prefix: str
    stop: threading.Event = field(default_factory=threading.Event)
    failures: list[BaseException] = field(default_factory=list)
    writes: int = 0

    def __post_init__(self) -> None:
        self.world.run(TABLES)
        self.world.track("public.items")
        self.world.track("public.lines")
        self.documents = (
            Document("public.items", f"{self.prefix}items", ("id", "v", "n"), "n > 0"),
            Document("public.lines", f"{self.prefix}lines"),
        )
        self._closing: list[Any] = []
        self._threads: list[threading.Thread] = []

    def parts(self) -> tuple[PostgresSource, ElasticsearchSink, ElasticsearchProgress]:
        """A source, a sink and a store of one process."""
        settings = ElasticsearchSettings(self.server.url)
        sink = ElasticsearchSink(settings, dead_letter_index=f"{self.prefix}dead")
        store = ElasticsearchProgress(settings, f"{self.prefix}progress")
        source = PostgresSource(self.world.database.dsn, self.documents)
        self._closing += [source, sink, store]
        return source, sink, store

    def verifier(self, repair: bool = False, settle_seconds: float = 20.0) -> Verifier:
        """A verifier of its own."""
        options = VerifyOptions(
            Limits(documents=40), repair=repair, settle_seconds=settle_seconds
        )
        made = Verifier("main", *self.parts(), self.documents, options)
        made.begin(restart=True)
        return made

    def verified(self, repair: bool = False) -> Pass:
        """One whole pass."""
        verifier = self.verifier(repair)
        assert run_pass(verifier, threading.Event(), patience_seconds=120)
        return verifier.pass_

    def start(self) -> Pipeline:
        """The daemon, in a thread."""
        options = PipelineOptions(Limits(documents=50), save_interval_seconds=0.2)
        pipeline = Pipeline("main", *self.parts(), self.documents, options)
        daemon = Daemon(pipeline, DaemonOptions(poll_interval_seconds=0.02), self.stop)
        self._run(daemon.run)
        eventually(lambda: pipeline.started and pipeline.status().phase == "sync", 120)
        return pipeline

    def write(self, seed: int, until_seconds: float) -> None:
        """Changes of all kinds in transactions of all lengths, until then."""

        def work() -> None:
            rng = random.Random(seed)
            connection = psycopg2.connect(self.world.database.dsn)
            while time.monotonic() < until_seconds:
                with connection.cursor() as cursor:
                    for _ in range(rng.randint(1, 4)):
                        cursor.execute(*statement(rng))
                if rng.random() < 0.05:
                    time.sleep(rng.random())
                if rng.random() < 0.1:
                    connection.rollback()
                else:
                    connection.commit()
                self.writes += 1
            connection.close()

        self._run(work)

    def _run(self, work: Any) -> None:
        def target() -> None:
            try:
                work()
            except psycopg2.errors.DeadlockDetected:
                pass
            except BaseException as error:  # noqa: BLE001
                self.failures.append(error)

        thread = threading.Thread(target=target)
        thread.start()
        self._threads.append(thread)

    def close(self) -> None:
        """End everything."""
        self.stop.set()
        for thread in self._threads:
            thread.join(timeout=60)
        for part in self._closing:
            part.close()
        assert not self.failures, self.failures

    def plant(self, index: str, id: str, source: object | None, version: int) -> None:
        """Write, or delete, behind the pipeline's back."""
        path = f"/{index}/_doc/{id}?version={version}&version_type=external_gte"
        self.server.request("DELETE" if source is None else "PUT", path, source)

    def version(self, index: str, id: str) -> int:
        """The version of a document, as soon as there is one."""

        def version() -> int:
            found = self.server.request("POST", f"/{index}/_mget", {"ids": [id]})["docs"][0]
            return int(found.get("_version", 0))

        return eventually(version, 60)


def statement(rng: random.Random) -> tuple[str, tuple[Any, ...]]:
    """A change; keys are few, so that they are deleted and come back, and some are hot.

    One order of the keys, so that writers rarely wait for each other in a circle.
    """
    key = rng.randint(1, 3) if rng.random() < 0.3 else rng.randint(1, ROWS)
    value = str(rng.random())
    return rng.choice([
        ("update public.items set v = %s where id = %s", (value, key)),
        ("update public.items set hidden = %s where id = %s", (value, key)),
        ("update public.items set n = (n + 1) %% 3 where id = %s", (key,)),
        ("delete from public.items where id = %s", (key,)),
        (UPSERT, (key, value)),
        ("delete from public.lines where y = %s", (key,)),
        ("insert into public.lines values (%s, %s, %s) on conflict do nothing",
         (f"a,{key % 20}", key, value)),
        ("update public.lines set v = %s where y between %s and %s", (value, key, key + 20)),
    ])  # fmt: skip


@pytest.fixture
def stress(
    database: Any, elasticsearch_server: Any, index_prefix: str
) -> Iterator[Stress]:
    """Tables filled and tracked."""
    with world_of(database) as world:
        made = Stress(world, elasticsearch_server, index_prefix)
        try:
            yield made
        finally:
            made.close()


def test_no_false_alarm_beside_writers(stress: Stress, seed: int) -> None:
    """Passes of two verifiers, one of which repairs, while everything is written: not one alarm."""
    stress.start()
    until = time.monotonic() + SECONDS
    for number in range(WRITERS):
        stress.write(seed + number, until)
    passes = []
    while time.monotonic() < until:
        passes.append(stress.verified())
        passes.append(stress.verified(repair=True))
    print(f"{len(passes)} passes, {stress.writes} transactions, "
          f"{sum(p.unsettled for p in passes)} unsettled")  # fmt: skip
    assert len(passes) >= 2
    assert stress.writes > 20
    for result in passes:
        assert [f.differences for f in result.findings.values()] == [0, 0], result
    last = stress.verified()
    assert (last.left, last.unsettled) == (0, 0)


def test_planted_differences_are_found_beside_writers(stress: Stress, seed: int) -> None:
    """While others are written: each is found, none besides; repaired while the run goes on."""
    stress.start()
    items, lines = (document.name for document in stress.documents)
    stress.world.run("insert into public.items values (1001, 'a', 'h', 1), (1002, 'a', 'h', 1)")
    stress.world.run("insert into public.items values (1003, 'a', 'h', 1), (1004, 'a', 'h', 1)")
    stress.world.run("insert into public.lines values ('deleted', 1001, 'a')")
    version = stress.version(lines, "deleted,1001")
    until = time.monotonic() + SECONDS
    for number in range(WRITERS):
        stress.write(seed + number, until)
    stress.plant(lines, "deleted,1001", None, version)
    for id in ("1001", "1002"):
        altered = {"id": int(id), "v": "altered", "n": 1}
        stress.plant(items, id, altered, stress.version(items, id))
    stress.plant(items, "2001", {"id": 2001}, 1)
    stress.plant(items, "2002", {"id": 2002}, 2**63 - 1)
    stress.world.run(
        "begin; update public.items set v = 'unseen' where id = 1003;"
        " delete from txid_sync.log_1 where txid = txid_current(); commit"
    )
    for repair, left in ((False, 6), (True, 0)):
        result = stress.verified(repair)
        kinds = {
            name.removeprefix(stress.prefix): (f.missing, f.stale, f.ghosts)
            for name, f in result.findings.items()
        }
        assert kinds == {"items": (0, 3, 2), "lines": (1, 0, 0)}
        assert result.left == left
    last = stress.verified()
    assert last.left == 0
    eventually(lambda: time.monotonic() > until, 60)
    assert stress.verified().left == 0
    row = stress.server.request("GET", f"/{items}/_doc/1003")["_source"]
    assert row == {"id": 1003, "v": "unseen", "n": 1}


def test_large_rows_and_refused_ids(stress: Stress) -> None:
    """Rows of 8 MB are compared in bounded pages; an id that is too long is dead, and no ghost."""
    stress.world.run(
        "insert into public.lines select repeat('x', 8), 1000 + i, repeat('y', 8000000)"
        " from generate_series(1, 4) i"
    )
    stress.world.run("insert into public.lines values (repeat('z', 600), 1, 'long')")
    pipeline = stress.start()
    eventually(lambda: pipeline.status().lag_transactions == 0, 120)
    lines = stress.documents[1].name
    stress.plant(lines, "xxxxxxxx,1002", {"v": "n" * 8_000_000}, stress.version(
        lines, "xxxxxxxx,1002"))  # fmt: skip
    found = stress.verified(repair=True).findings[lines]
    assert (found.missing, found.stale, found.ghosts, found.dead) == (0, 1, 0, 1)
    assert found.repaired == 1
    found = stress.verified().findings[lines]
    assert (found.rows, found.documents, found.differences) == (305, 304, 0)
