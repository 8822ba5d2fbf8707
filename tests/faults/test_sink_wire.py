"""The wire to Elasticsearch under fault: whatever happens to a request, both sides end equal."""

from __future__ import annotations

import pytest

from tests.faults.http_proxy import OWN, SERVED
from tests.faults.place import Place
from tests.faults.proxy import CUT_REQUEST, DELAY, HALF_OPEN
from tests.support import eventually

BEYOND_SECONDS = 4.0  # longer than the deadline and the time-out of a request
WIRE = (CUT_REQUEST, HALF_OPEN, DELAY, *SERVED)
ROWS = 200


@pytest.mark.parametrize("kind", [*WIRE, *OWN])
def test_H10_a_bulk_request_meets_a_fault(place: Place, kind: str) -> None:
    """The fourth bulk request of a load is spoilt: all arrives, and each row counts once."""
    place.fill(ROWS)
    fault = place.http.arm(kind, place.bulk, skip=3, bytes=600, seconds=BEYOND_SECONDS)
    pipeline = place.run_once()
    assert fault.struck.is_set()
    place.assert_equal()
    assert pipeline.progress.acknowledged.documents == ROWS
    assert pipeline.status().dead_letters == 0


OTHERS = ("/_nodes/_local", "?ignore_unavailable", "progress/_doc", "/_refresh", "/_search?scroll")
# In Elasticsearch's own words these two are final for anything but a bulk request: exit code 5.
FINAL = {"400", "413"}


@pytest.mark.parametrize("kind", [k for k in (*WIRE, *OWN) if k not in FINAL])
def test_H10_every_other_request_meets_a_fault(place: Place, kind: str) -> None:
    """Progress, catalog, refresh and scan are spoilt once each, while a table is written again."""
    place.fill(ROWS)
    how = {"bytes": 20, "seconds": BEYOND_SECONDS}
    place.http.arm(kind, b"/_nodes/_local", **how)
    with place.running() as daemon:
        eventually(lambda: daemon._pipeline.started, 30)
        faults = [place.http.arm(kind, match.encode(), **how) for match in OTHERS[1:]]
        place.world.run("alter table public.t add column extra int default 7")
        place.change()
        faults.append(place.http.arm(kind, place.bulk, **how))
        eventually(lambda: all(fault.struck.is_set() for fault in faults), 40)
        place.http.heal()
    place.run_once()
    place.assert_equal()
