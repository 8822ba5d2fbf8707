"""The engine of the pair dies under a running syncer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine_checks import check_engine
from tests.matrix.place import Place
from tests.support import Database, eventually
from txid_sync.dev import SearchServer

pytestmark = pytest.mark.integration


@pytest.fixture
def own_engine(pytestconfig: pytest.Config) -> SearchServer:
    """A node of the chosen engine that may be killed."""
    return SearchServer(pytestconfig.option.engine, heap_megabytes=384)


def test_a_killed_engine_ends_equal(
    database: Database, own_engine: SearchServer, tmp_path: Path
) -> None:
    """SIGKILL of the node in mid-stream; what was deleted meanwhile does not come back."""
    with own_engine:
        place = Place(database, own_engine, "crash-", tmp_path)
        place.add(1, 500)
        with place.syncer() as syncer:
            eventually(place.assert_equal, 60)
            place.add(1000, 1200)
            place.sql("update public.items set name = 'x' where id % 3 = 0")
            own_engine.kill9()
            place.sql("delete from public.items where id % 5 = 0")
            place.sql("delete from public.lines where b % 5 = 0")
            own_engine.start()
            check_engine(own_engine)
            eventually(place.assert_equal, 120)
            assert syncer.poll() is None
