"""Disks that are full: PostgreSQL cannot make files longer, Elasticsearch is in flood stage."""

from __future__ import annotations

import resource
from contextlib import closing

import psycopg2
import pytest

from tests.faults.place import Place, hurry, own_server
from tests.integration.streams import world_of
from tests.support import Database, eventually
from txid_sync.dev import ElasticsearchServer, PostgresServer

# A segment of the WAL has 16 MB and must still be possible; a table reaches this quickly.
ROOM_BYTES = 20 * 2**20
WATERMARK = "cluster.routing.allocation.disk.watermark"
NEVER = {f"{WATERMARK}.{stage}": "1b" for stage in ("low", "high", "flood_stage")}
AT_ONCE = {f"{WATERMARK}.{stage}": "900tb" for stage in ("low", "high", "flood_stage")}


def restart(server: PostgresServer, most_bytes: int = resource.RLIM_INFINITY) -> None:
    """Start PostgreSQL anew; it cannot make a file longer than that."""
    server.stop()
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


def test_A17_postgres_has_no_room(
    elasticsearch_server: ElasticsearchServer, index_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that finds no room fails with its log row: nothing is wrong; what fits flows on."""
    hurry(monkeypatch)
    own = own_server(elasticsearch_server, index_prefix)
    with own as (server, place), place.running(size=500):
        place.fill(1000)
        eventually(place.equal, 60)
        place.world.run("alter table public.t alter column v set storage plain")
        restart(server, ROOM_BYTES)
        with closing(place.world.database.connect()) as writer:
            with pytest.raises(psycopg2.Error, match=r"could not (extend|write)"):
                fill(writer)
            with writer.cursor() as cursor:
                cursor.execute("delete from public.t where id < 100")
        place.reconnect()
        eventually(place.equal, 60)
        restart(server)
        place.reconnect()
        place.world.run("update public.t set v = 'afterwards'")
        eventually(place.equal, 60)


def fill(writer: psycopg2.extensions.connection) -> None:
    """Rows of 8 kB until there is no room."""
    rows = "select g, repeat('x', 7500) from generate_series(%s, %s) g"
    with writer.cursor() as cursor:
        for first in range(1001, 100_000, 100):
            cursor.execute(f"insert into public.t {rows}", (first, first + 99))


def test_H10_the_flood_stage_is_waited_for(
    database: Database, index_prefix: str, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Elasticsearch blocks its indices since the disk is full, and lifts the block by itself."""
    hurry(monkeypatch)
    settings = {f"{WATERMARK[:-10]}.threshold_enabled": True, **NEVER}
    with (
        ElasticsearchServer(settings=settings) as search,
        world_of(database) as world,
        closing(Place(world, search, index_prefix)) as place,
        place.running() as daemon,
    ):
        place.fill()
        eventually(place.equal, 60)
        put(search, AT_ONCE | {"cluster.info.update.interval": "10s"})
        eventually(lambda: blocked(search, place), 60)
        place.change()
        eventually(lambda: "the sink blocks writes" in caplog.text, 60)
        put(search, NEVER)
        eventually(place.equal, 90)
        assert daemon._pipeline.status().dead_letters == 0


def put(search: ElasticsearchServer, settings: dict[str, str]) -> None:
    """Change settings of the cluster."""
    search.request("PUT", "/_cluster/settings", {"persistent": settings})


def blocked(search: ElasticsearchServer, place: Place) -> bool:
    """Whether the index is blocked; something is written so that somebody looks at the disk."""
    (index,) = search.request("GET", f"/{place.document.index}/_settings").values()
    blocks: dict[str, str] = index["settings"]["index"].get("blocks", {})
    return blocks.get("read_only_allow_delete") == "true"
