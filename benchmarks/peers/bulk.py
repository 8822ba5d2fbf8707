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
AT_WORK = Claim("catch-up, from the first document to the last", "rows/s")
CATCH_UP = Claim("catch-up, from the start until the index is equal", "rows/s")
IN_STEP = Claim("catch-up, from the start until new changes arrive", "rows/s", must=30)
CATCH_UP_CPU = Claim("catch-up, processor without Elasticsearch", "us/row", more_is_better=False)


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
    """Rows changed one by one while the contender was stopped."""
    with arena(site, kind, sizes.rows) as place:
        with place.running():
            assert place.in_step(), "a later change does not come"
        place.singles(sizes.offline, sizes.rows)
        done = site.indexed(INDEX)
        begun = time.perf_counter()
        process = place.start()
        with place.watched(process), measured(site, process.pid) as usage:
            assert until(lambda: site.indexed(INDEX) > done), "no change came"
            first, before = time.perf_counter(), site.indexed(INDEX) - done
            assert until(lambda: site.indexed(INDEX) >= done + sizes.offline), (
                f"{site.indexed(INDEX) - done} of {sizes.offline} changes came"
            )
            ended = time.perf_counter()
            assert place.until_equal(), "the index does not become equal"
            equal = time.perf_counter()
            assert place.in_step(), "a later change does not come"
        return {
            AT_WORK: max(1, sizes.offline - before) / max(ended - first, 0.001),
            CATCH_UP: sizes.offline / (equal - begun),
            IN_STEP: sizes.offline / (time.perf_counter() - begun),
            CATCH_UP_CPU: usage.pipeline / sizes.offline * 1e6,
        }
