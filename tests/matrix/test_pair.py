"""End to end on one pair of servers; `python -m tests.matrix` runs it on all pairs."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.integration.streams import execute
from tests.matrix.place import Place
from tests.support import Database, eventually
from txid_sync.dev import SearchServer
from txid_sync.model import epoch_of
from txid_sync.sinks.elasticsearch_loading import LOADING

pytestmark = pytest.mark.integration

REFUSES = {"mappings": {"dynamic": False, "properties": {"price": {"type": "integer"}}}}
STRANGE = """
insert into public.items (id, price, at, day, name) values
(-1, 'NaN', 'infinity', '-infinity', ''),
(-2, 1e300, '0044-03-15 BC', '294276-01-01', repeat('x', 40000)),
(-3, 123456789012345678901234567890.10, null, null, E'é😀\\u2028')
"""


@pytest.fixture
def place(
    database: Database, elasticsearch_server: SearchServer, index_prefix: str, tmp_path: Path
) -> Place:
    """Two tracked, empty tables, and no indices."""
    return Place(database, elasticsearch_server, index_prefix, tmp_path)


def refreshed(place: Place) -> str | None:
    """The refresh interval that an index has of its own."""
    path = f"/{place.prefix}items/_settings?flat_settings=true"
    (index,) = place.engine.request("GET", path).values()
    value: str | None = index["settings"].get("index.refresh_interval")
    return value


def test_the_servers_are_those_that_were_asked_for(
    place: Place, pytestconfig: pytest.Config
) -> None:
    """The database has the chosen major version, the node the chosen version and make."""
    ((number,),) = place.sql("show server_version_num")
    assert int(number) // 10_000 == int(pytestconfig.option.postgres)
    kind, _, version = pytestconfig.option.engine.partition("-")
    (node,) = place.engine.request("GET", "/_nodes/_local")["nodes"].values()
    assert node["version"] == version
    assert ("cluster_manager" in node["roles"]) == (kind == "opensearch")


def test_a_load_brings_every_row_as_it_is(place: Place) -> None:
    """All types, strange values, and what commits while the load runs: equal to the digit."""
    place.add(1, 400)
    place.sql(STRANGE)
    writer = place.database.connect(autocommit=False)
    execute(writer, "update public.items set name = 'late' where id in (1, 200, 400)")
    execute(writer, "delete from public.lines where b = 100")
    place.add(401, 402)  # ends after the writer has begun, so the first snapshot passes over it
    with place.assembly() as assembly:
        assembly.pipeline.start()
        for _ in range(5):
            assembly.pipeline.step()
        assert refreshed(place) == LOADING
        writer.commit()
        assembly.pipeline.stop()
    place.sync()
    assert refreshed(place) is None
    assert len(place.held("items")) == 405
    place.assert_equal()


def test_changes_stream_in_whatever_order_they_commit(place: Place) -> None:
    """A running syncer brings what began first and committed last; SIGTERM ends it with 0."""
    place.add(1, 100)
    early = place.database.connect(autocommit=False)
    execute(early, "update public.items set name = 'early' where id <= 3")
    with place.syncer() as syncer:
        eventually(lambda: len(place.held("lines")) == 100, 60)
        place.sql("update public.items set price = price + 0.50 where id > 3")
        place.add(101, 120)
        eventually(place.assert_equal, 60)
        early.commit()
        eventually(place.assert_equal, 60)
        syncer.send_signal(signal.SIGTERM)
        assert syncer.wait(60) == 0


def test_deletes_stay_deleted_and_a_key_may_come_back(place: Place) -> None:
    """Deleted, inserted anew with other values, deleted again: as the tables have it."""
    place.add(1, 120)
    place.sync()
    place.sql("delete from public.items where id % 3 = 0; delete from public.lines where b < 60")
    place.sync()
    place.assert_equal()
    place.add(500, 501)
    place.sql("insert into public.items (id, name) values (3, 'back'), (6, 'back'), (9, 'back')")
    place.sync()
    place.assert_equal()
    place.sql("delete from public.items where name = 'back'")
    place.sync()
    place.assert_equal()
    assert "3" not in place.held("items")


def test_a_truncation_empties_the_index(place: Place) -> None:
    """All documents go, rows inserted after it stay, the other index is left alone."""
    place.add(1, 150)
    place.sync()
    place.sql("truncate public.items; insert into public.items (id, name) values (7, 'after')")
    place.sync()
    assert set(place.held("items")) == {"7"}
    place.assert_equal()


def test_a_changed_key_leaves_no_document_behind(place: Place) -> None:
    """Keys moved, exchanged and shifted onto each other: the old ids are gone."""
    place.add(1, 60)
    place.sync()
    place.sql("update public.items set id = id + 1000 where id <= 30")
    place.sql("update public.lines set a = upper(a), b = 100 - b")
    place.sql(
        "begin; update public.items set id = -1 where id = 40;"
        " update public.items set id = 40 where id = 50;"
        " update public.items set id = 50 where id = -1; commit"
    )
    place.sync()
    assert len(place.held("items")) == len(place.held("lines")) == 60
    place.assert_equal()


def test_a_refused_document_is_kept_as_a_dead_letter(place: Place) -> None:
    """One row that an adopted index refuses is listed, with the engine's words, until mended."""
    place.engine.request("PUT", f"/{place.prefix}items", REFUSES)
    place.add(1, 20)
    place.sql("update public.items set price = 1e12 where id = 3")
    place.sync()
    assert set(place.held("items")) == set(place.wanted("items")) - {"3"}
    ((id, reason),) = place.dead_letters()
    assert id == "3" and reason.startswith("400 ") and "price" in reason
    place.sql("update public.items set price = 1 where id = 3")
    place.sync()
    assert place.dead_letters() == []
    place.assert_equal()


def test_a_resync_mends_what_others_did_to_the_index(place: Place) -> None:
    """A document too many, one too few and one overwritten: equal again, under a new epoch."""
    place.add(1, 100)
    place.sync()
    index = f"/{place.prefix}items"
    place.engine.request("PUT", f"{index}/_doc/ghost", {"id": -1})
    place.engine.request("DELETE", f"{index}/_doc/50")
    place.engine.request("PUT", f"{index}/_doc/51", {"id": 0})
    with place.assembly() as assembly:
        assembly.pipeline.start()
        assembly.pipeline.resync("a test asks for it")
        assembly.pipeline.stop()
    place.sync()
    place.assert_equal()
    assert {epoch_of(version) for version, _ in place.hits("items").values()} == {2}


def test_a_killed_syncer_loses_nothing(place: Place) -> None:
    """SIGKILL in the load and in the stream, beside writes: the next run ends equal."""
    place.add(1, 3000)
    for n in range(3):
        with place.syncer() as syncer:
            seen = len(place.held("lines"))
            first = 10_000 * (n + 1)
            place.add(first, first + 500)
            place.sql(f"update public.items set name = 'x{n}' where id % 7 = {n}")
            place.sql(f"delete from public.lines where b % 11 = {n}")
            eventually(lambda seen=seen: len(place.held("lines")) > seen + 100, 60)
            syncer.kill()
            assert syncer.wait(60) == -signal.SIGKILL
    place.sync()
    place.assert_equal()


def test_a_wiped_index_is_filled_again(place: Place) -> None:
    """Both indices are deleted, one while nobody runs, one under a running syncer."""
    place.add(1, 150)
    place.sync()
    place.engine.delete_indices(f"{place.prefix}items-0")
    place.sync()
    place.assert_equal()
    with place.syncer():
        place.sql("update public.items set name = 'before' where id = 1")
        eventually(place.assert_equal, 60)
        place.engine.delete_indices(f"{place.prefix}lines-0")
        place.sql("update public.lines set v = 'after' where b = 1")
        eventually(lambda: len(place.held("lines")) == 150 and place.assert_equal(), 60)
    assert len(place.held("items")) == 150
