"""Load and catch-up: how fast much work is done, by one contender in one round."""

from __future__ import annotations

import time

from benchmarks.peers import rows
from benchmarks.peers.arena import arena
from benchmarks.peers.contenders import INDEX, Contender
from benchmarks.peers.figures import Claim
from benchmarks.peers.meters import measured, peak_megabytes
from benchmarks.peers.site import Site, until
from benchmarks.peers.sizes import Sizes, Values

LOAD = Claim("load", "documents/s", must=5, aim=8)
LOAD_START = Claim("load, with the start of the program", "documents/s")
LOAD_CPU = Claim("load, processor without Elasticsearch", "us/document", more_is_better=False)
LOAD_ES = Claim("load, processor of Elasticsearch", "us/document", more_is_better=False)
MEMORY = Claim("memory, peak of the load", "MB", more_is_better=False, must=1)


def load(site: Site, kind: type[Contender], sizes: Sizes) -> Values:
    """All rows into an empty index: the rate from the first document to the last."""
    with arena(site, kind, sizes.load) as place:
        begun = time.perf_counter()
        process = place.start()
        with place.watched(process), measured(site, process.pid) as usage:
            assert until(lambda: site.indexed(INDEX) > 0), "no document comes"
            first, before = time.perf_counter(), site.indexed(INDEX)
            assert until(lambda: site.indexed(INDEX) >= sizes.load), "the load does not end"
            ended, peak = time.perf_counter(), peak_megabytes(process.pid)
            assert place.until_equal(), "the index does not become equal"
            other = {k: v for k, v in site.fields(INDEX).items() if rows.MAPPING.get(k) != v}
            assert set(other) <= {"_meta"}, f"its mapping is not that of the others: {other}"
        return {
            LOAD: (sizes.load - before) / (ended - first),
            LOAD_START: sizes.load / (ended - begun),
            LOAD_CPU: usage.pipeline / sizes.load * 1e6,
            LOAD_ES: usage.elasticsearch / sizes.load * 1e6,
            MEMORY: peak,
        }


def catch_up(site: Site, kind: type[Contender], sizes: Sizes) -> Values:
    """Rows changed once, one by one, while the contender was stopped."""
    return _offline(site, kind, sizes, sizes.offline, "catch-up", must=30)


def outage(site: Site, kind: type[Contender], sizes: Sizes) -> Values:
    """The same after a longer time: many more changes, of the same rows."""
    return _offline(site, kind, sizes, sizes.outage, "outage")


def _offline(
    site: Site, kind: type[Contender], sizes: Sizes, changes: int, name: str,
    must: float | None = None,
) -> Values:  # fmt: skip
    with arena(site, kind, sizes.rows) as place:
        with place.running():
            assert place.in_step(), "a later change does not come"
        place.singles(changes, sizes.rows)
        done, expected = site.indexed(INDEX), min(changes, sizes.rows)
        begun = time.perf_counter()
        process = place.start()
        with place.watched(process), measured(site, process.pid) as usage:
            assert until(lambda: site.indexed(INDEX) > done), "no change came"
            first = time.perf_counter()
            assert until(lambda: site.indexed(INDEX) >= done + expected), (
                f"{site.indexed(INDEX) - done} of {changes} changes came"
            )
            assert place.until_equal(), "the index does not become equal"
            equal = time.perf_counter()
            assert place.in_step(), "a later change does not come"
            ended = time.perf_counter()
        at_work, until_equal, in_step, processor = _claims(name, must)
        return {
            at_work: changes / (equal - first),
            until_equal: changes / (equal - begun),
            in_step: changes / (ended - begun),
            processor: usage.pipeline / changes * 1e6,
        }


def _claims(name: str, must: float | None) -> tuple[Claim, Claim, Claim, Claim]:
    unit = "changes/s"
    return (
        Claim(f"{name}, from the first document until the index is equal", unit),
        Claim(f"{name}, from the start until the index is equal", unit),
        Claim(f"{name}, from the start until new changes arrive", unit, must=must),
        Claim(f"{name}, processor without Elasticsearch", "us/change", more_is_better=False),
    )
