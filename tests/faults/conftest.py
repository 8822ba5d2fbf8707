"""Fixtures of the tests with faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.faults.place import Place, hurry
from tests.integration.streams import world_of


@pytest.fixture
def place(
    database: Any, elasticsearch_server: Any, index_prefix: str, monkeypatch: Any
) -> Iterator[Place]:
    """A tracked table, an index, and proxies before both servers; no patience."""
    hurry(monkeypatch)
    with (
        world_of(database) as world,
        closing(Place(world, elasticsearch_server, index_prefix)) as made,
    ):
        yield made
