"""Servers under fault: indices blocked, wiped or spoilt, nodes killed, limits that refuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.faults.place import Place, hurry, own_server
from tests.integration.narrow import NARROW
from tests.integration.streams import world_of
from tests.support import eventually
from txid_sync.dev import ElasticsearchServer

ROWS = 200
# Less memory for requests than one page takes.
NARROWER = {**NARROW, "indexing_pressure.memory.limit": "100kb"}


@pytest.fixture(scope="module")
def narrow() -> Iterator[ElasticsearchServer]:
    """A node of our own with short queues and low limits; it may be killed."""
    with ElasticsearchServer(settings=NARROWER) as server:
        yield server


@pytest.fixture
def narrow_place(
    database: Any, narrow: ElasticsearchServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """A place on the narrow node."""
    hurry(monkeypatch)
    prefix = f"{database.name}-"
    with world_of(database) as world, closing(Place(world, narrow, prefix)) as made:
        yield made
        narrow.delete_indices(prefix)


@pytest.mark.parametrize("block", ["write", "read_only_allow_delete", "read_only"])
def test_H10_an_index_is_blocked_and_set_free(
    place: Place, block: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Writes wait for an index that an operator, or a full disk, has locked; nothing is dead."""
    place.fill(ROWS)
    with place.running() as daemon:
        eventually(place.equal, 60)
        path = f"/{place.document.index}/_settings"
        place.search.request("PUT", path, {f"index.blocks.{block}": True})
        place.change()
        eventually(lambda: "the sink blocks writes" in caplog.text, 60)
        place.search.request("PUT", path, {f"index.blocks.{block}": None})
        eventually(place.equal, 60)
        assert daemon._pipeline.status().dead_letters == 0


def test_an_index_that_is_deleted_again_and_again(place: Place) -> None:
    """Six times in one run, with a quiet moment in between: filled again each time."""
    place.fill(ROWS)
    with place.running():
        for _ in range(6):
            eventually(place.equal, 60)
            place.search.delete_indices(f"{place.document.index}-")
            place.change()
        eventually(place.equal, 60)


@pytest.mark.parametrize("alias", [True, False])
def test_an_index_recreated_empty_by_hand(place: Place, alias: bool) -> None:
    """Deleted and made again without documents, as an alias or under its own name: filled."""
    place.fill(ROWS)
    name = place.document.index
    with place.running():
        eventually(place.equal, 60)
        place.search.delete_indices(f"{name}-")
        made: dict[str, Any] = {"mappings": {"dynamic": False}}
        if alias:
            made["aliases"] = {name: {}}
        place.make_index(f"{name}-hand" if alias else name, made)
        place.change()
        eventually(place.equal, 60)


def test_F20_a_changed_mapping_makes_dead_letters_and_is_mended(place: Place) -> None:
    """Documents that a spoilt index refuses are listed, not lost: a right index has them all."""
    place.fill(ROWS)
    name = place.document.index
    with place.running() as daemon:
        eventually(place.equal, 60)
        place.search.delete_indices(f"{name}-")
        wrong = {"aliases": {name: {}}, "mappings": {"properties": {"v": {"type": "date"}}}}
        place.make_index(f"{name}-spoilt", wrong)
        place.world.run("update public.t set v = '2026-01-01' where id <= 50")
        sink = daemon._pipeline._sink
        eventually(lambda: sink.dead_letters(0)[0] == ROWS - 50, 60)
        eventually(lambda: len(place.index()) == 50, 60)
        place.search.delete_indices(f"{name}-")
        place.world.run("update public.t set v = 'new' where id % 10 = 0")
        place.world.run("delete from public.t where id % 15 = 0")
        eventually(place.equal, 60)
        eventually(lambda: sink.dead_letters(0)[0] == 0, 60)


def test_H11_one_poison_document_between_good_ones(place: Place) -> None:
    """A document that the index refuses for ever is dead in one go; no crash, no loop."""
    place.make_index(
        f"{place.document.index}-hand",
        {"aliases": {place.document.index: {}},
         "mappings": {"properties": {"n": {"type": "integer"}}}},
    )  # fmt: skip
    place.fill(ROWS)
    place.world.run("update public.t set n = 1e15 where id = 77")
    pipeline = place.run_once()
    assert pipeline.progress.acknowledged.documents == ROWS
    assert [letter.id for letter in pipeline._sink.dead_letters(10)[1]] == ["77"]
    place.assert_equal(without=("77",))
    for _ in range(3):
        place.world.run("update public.t set v = v || '.' where id in (76, 77, 78)")
        place.run_once()
        place.assert_equal(without=("77",))


def test_H10_a_narrow_node_takes_everything_in_the_end(
    narrow_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queues of one, 100 kB of memory for requests, bodies of 1 MB at most: 429 and 413."""
    monkeypatch.setattr("tests.faults.place.DEADLINE_SECONDS", 30.0)
    place = narrow_place
    place.world.run(
        "insert into public.t select g, repeat('x', 20000), g from generate_series(1, %s) g", ROWS
    )
    place.world.run("update public.t set v = repeat('y', 2000000) where id = 7")
    pipeline = place.run_once(size=100)
    assert [letter.id for letter in pipeline._sink.dead_letters(10)[1]] == ["7"]
    place.assert_equal(without=("7",))


def test_A17_H03_a_node_is_killed_in_the_middle(
    narrow_place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """kill -9 of Elasticsearch while changes come: what it has forgotten is sent again."""
    place = narrow_place
    place.fill(ROWS)
    with place.running():
        eventually(place.equal, 60)
        for n in range(2):
            fault = place.http.arm("pass", place.bulk)
            place.world.run("update public.t set v = %s", str(n))
            eventually(fault.struck.is_set, 60)
            place.search.kill9()
            place.change()
            caplog.clear()
            eventually(lambda: "does not answer" in caplog.text, 60)
            place.search.start()
            eventually(place.equal, 90)


def test_A17_postgres_stops_at_once_in_the_middle(
    elasticsearch_server: ElasticsearchServer,
    index_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Immediate stops of PostgreSQL between page and gate, and while idle: equal afterwards."""
    hurry(monkeypatch)
    with own_server(elasticsearch_server, index_prefix) as (server, place), place.running():
        for n in range(3):
            place.fill(ROWS) if n == 0 else place.change()
            fault = place.postgres.arm("pass", b"pg_current_wal_flush_lsn")
            place.world.run("update public.t set v = %s where id %% 2 = 0", str(n))
            eventually(fault.struck.is_set, 60)
            server.stop("immediate")
            eventually(lambda: "PostgreSQL" in caplog.text, 60)
            caplog.clear()
            server.start()
            place.reconnect()
            eventually(place.equal, 60)
