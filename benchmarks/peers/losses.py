"""Rows that are not in the index in the end, after late commits, deletes, kills and crashes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

from benchmarks.peers import rows
from benchmarks.peers.arena import Arena, Keeper, arena
from benchmarks.peers.clients import overlapping
from benchmarks.peers.contenders import Contender
from benchmarks.peers.figures import Claim
from benchmarks.peers.site import Site
from benchmarks.peers.sizes import Sizes, Values

LATE, DELETED, BUSY, KILLED, CRASHED = (
    Claim(f"rows lost: {what}", more_is_better=False, at_most=0)
    for what in (
        "a transaction of 100 rows commits 2 s late",
        "100 rows deleted",
        "commits out of order, on 300 rows",
        "the same, the program killed again and again",
        "the same, Elasticsearch killed",
    )
)
ROWS, LATE_ROWS, LATE_SECONDS = 300, 100, 2.0
WRITERS, PATIENCE_SECONDS = 8, 20.0


def losses(site: Site, kind: type[Contender], sizes: Sizes) -> Values:
    """Each trouble on fresh tables; then a long wait for the index to become equal."""
    troubles: dict[Claim, Callable[[Arena, Keeper], None]] = {
        LATE: late_commit,
        DELETED: delete,
        BUSY: lambda place, _: _busy(place, sizes.seconds),
        KILLED: lambda place, keeper: _killed(place, keeper, sizes),
        CRASHED: lambda place, _: _crashed(place, sizes.seconds),
    }
    return {claim: _lost(site, kind, claim.what, trouble) for claim, trouble in troubles.items()}


def _lost(
    site: Site, kind: type[Contender], what: str, trouble: Callable[[Arena, Keeper], None]
) -> float:
    """How many rows differ for good: the program is started once more if any do."""
    with arena(site, kind, ROWS) as place, place.kept_running() as keeper:
        assert place.in_step(), "a later change does not come"
        trouble(place, keeper)
        seen = place.differences_in_the_end(PATIENCE_SECONDS)
        said = f"  {kind.name}, {what}: {seen}; {keeper.starts} starts"
        if seen.rows:  # an operator's remedy
            keeper.kill9()
            seen = place.differences_in_the_end(PATIENCE_SECONDS)
            said += f"; started once more: {seen}"
        print(said, flush=True)
        return seen.rows


def late_commit(place: Arena, _: Keeper) -> None:
    """Changes of one transaction become visible after later ones have been followed."""
    opened = place.site.postgres.connect(place.contender.database)
    with closing(opened) as session, session.cursor() as cursor:
        cursor.execute("begin")
        for id in range(1, LATE_ROWS + 1):
            cursor.execute(rows.CHANGE, (id,))
        limit = time.monotonic() + LATE_SECONDS
        while time.monotonic() < limit:
            place.run(rows.CHANGE, LATE_ROWS + 1)
            time.sleep(0.1)
        cursor.execute("commit")
    time.sleep(LATE_SECONDS)


def delete(place: Arena, _: Keeper) -> None:
    """Rows go away for good."""
    place.run("delete from goods where id <= %s", LATE_ROWS)


def _busy(place: Arena, seconds: float) -> None:
    for thread in overlapping(place, ROWS, WRITERS, seconds):
        thread.join()


def _killed(place: Arena, keeper: Keeper, sizes: Sizes) -> None:
    """`kill -9` while it writes; it is started again by a keeper."""
    pause = max(2.0, sizes.seconds / 2)
    threads = overlapping(place, ROWS, WRITERS, pause * sizes.kills + 1)
    for _ in range(sizes.kills):
        time.sleep(pause)
        keeper.kill9()
    for thread in threads:
        thread.join()


def _crashed(place: Arena, seconds: float) -> None:
    """`kill -9` of Elasticsearch, which comes back on its port with its data."""
    threads = overlapping(place, ROWS, WRITERS, seconds)
    time.sleep(seconds / 2)
    place.site.search.kill9()
    place.site.search.start()
    for thread in threads:
        thread.join()
