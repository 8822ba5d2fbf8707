"""Beside writers, and beside nobody: what a running contender does and costs."""

from __future__ import annotations

import json
import random
import statistics
import time
from contextlib import closing
from http.client import HTTPConnection

from benchmarks.peers import rows
from benchmarks.peers.arena import Arena, arena
from benchmarks.peers.clients import pgbench
from benchmarks.peers.contenders import INDEX, Contender
from benchmarks.peers.figures import Claim
from benchmarks.peers.meters import measured
from benchmarks.peers.site import Site
from benchmarks.peers.sizes import Sizes, Values

STREAM = Claim("stream, changes made and indexed", "rows/s")
STREAM_CPU = Claim("stream, processor without Elasticsearch", "us/row", more_is_better=False)
STREAM_LEFT = Claim("stream, from the last commit until the index is equal", "s",
                    more_is_better=False)  # fmt: skip
P50 = Claim("latency p50", "ms", more_is_better=False, must=5)
P99 = Claim("latency p99", "ms", more_is_better=False, must=5)
IDLE_CPU = Claim("idle", "% of a core", more_is_better=False)
IDLE_TXIDS = Claim("idle", "transaction ids/minute", more_is_better=False, at_most=0)
WRITERS = {
    True: Claim("writers, share of the untracked rate", must=5),
    False: Claim("writers without fsync, share of the untracked rate", must=5),
}
STREAM_CLIENTS, WRITERS_CLIENTS = 4, 8
TXIDS = "select txid_snapshot_xmax(txid_current_snapshot())"
STILL_SECONDS = 12.0  # what a contender still notes when it has come to rest


def stream(site: Site, kind: type[Contender], sizes: Sizes) -> Values:
    """Single-row transactions as fast as they go, and the wait until all are in the index."""
    with arena(site, kind, sizes.rows) as place, place.running() as process:
        assert place.in_step(), "a later change does not come"
        with measured(site, process.pid) as usage:
            begun = time.perf_counter()
            _, changes = pgbench(place, rows.TABLE, sizes.rows, STREAM_CLIENTS, sizes.seconds)
            written = time.perf_counter()
            assert place.until_equal(), f"{place.differences()} after the stream"
            ended = time.perf_counter()
    return {
        STREAM: changes / (ended - begun), STREAM_LEFT: ended - written,
        STREAM_CPU: usage.pipeline / changes * 1e6,
    }  # fmt: skip


def latency(site: Site, kind: type[Contender], sizes: Sizes) -> Values:
    """From the commit of a row until its document can be read by id; nobody else writes."""
    with arena(site, kind, sizes.rows) as place, place.running():
        assert place.in_step(), "a later change does not come"
        found = [_sample(place, random.randint(1, sizes.rows)) for _ in range(sizes.samples)]
    shares = statistics.quantiles(found, n=100, method="inclusive")
    return {P50: shares[49], P99: shares[98]}


def _sample(place: Arena, id: int) -> float:
    time.sleep(random.uniform(0.05, 0.35))
    with closing(HTTPConnection("127.0.0.1", place.site.search.port)) as wire:
        (wanted,) = place.value(f"{rows.CHANGE} returning revision", id)
        begun = time.perf_counter()
        while True:
            wire.request("GET", f"/{INDEX}/_source/{id}")
            if json.loads(wire.getresponse().read()).get("revision") == wanted:
                return 1000 * (time.perf_counter() - begun)
            assert time.perf_counter() - begun < 60, "a change did not arrive"
            time.sleep(0.001)


def idle(site: Site, kind: type[Contender], sizes: Sizes) -> Values:
    """Nothing happens; PostgreSQL's and Redis's work counts, Elasticsearch's does not."""
    with arena(site, kind, sizes.rows) as place, place.running() as process:
        assert place.in_step(), "a later change does not come"
        place.configure(autovacuum=False)  # it takes transaction ids too
        time.sleep(STILL_SECONDS)
        (before,) = place.value(TXIDS)
        with measured(site, process.pid) as usage:
            time.sleep(sizes.idle_seconds)
        (after,) = place.value(TXIDS)
        place.configure(autovacuum=True)
    return {
        IDLE_CPU: 100 * usage.pipeline / usage.seconds,
        IDLE_TXIDS: 60 * (after - before) / usage.seconds,
    }


def writers(site: Site, kind: type[Contender], sizes: Sizes) -> Values:
    """What capture costs; the contender itself does not run and takes no processor from them."""
    found = {}
    with arena(site, kind, sizes.rows) as place:
        place.table(rows.UNTRACKED, sizes.rows)
        for fsync, claim in WRITERS.items():
            place.configure(fsync=fsync)
            rates = {
                table: pgbench(place, table, sizes.rows, WRITERS_CLIENTS, sizes.seconds / 2)[0]
                for table in (rows.UNTRACKED, rows.TABLE)
            }
            again, _ = pgbench(place, rows.UNTRACKED, sizes.rows, WRITERS_CLIENTS,
                               sizes.seconds / 2)  # fmt: skip
            found[claim] = rates[rows.TABLE] / ((rates[rows.UNTRACKED] + again) / 2)
        place.configure(fsync=True)
    return found
