"""The code in docs/using-the-cursor.md runs as it stands, against a real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.streams import World, execute, world_of

pytestmark = pytest.mark.integration

DOCUMENT = Path(__file__).parents[2] / "docs" / "using-the-cursor.md"


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """A tracked table t with a text key."""
    with world_of(database) as world:
        world.run("create table public.t (id text primary key, v text)")
        world.track("public.t")
        yield world


@pytest.fixture(scope="module")
def code() -> dict[str, Any]:
    """Everything that the document defines."""
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    for block in blocks:
        exec(block, names)
    return names


def log_of(world: World) -> str:
    """The log table of t."""
    ((number,),) = world.rows("select id from txid_sync.tracked")
    return f"txid_sync.log_{number}"


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_A05_A06_the_synchronous_reader_misses_nothing(
    world: World, code: dict[str, Any], limit: int
) -> None:
    """Commits out of order, many keys per statement, and a truncation arrive in small pages."""
    log, cursor = log_of(world), code["first_cursor"](world.admin)
    late = world.session()
    execute(late, "insert into public.t values ('late', 'a')")
    world.run("insert into public.t select n::text, 'a' from generate_series(1, 7) n")
    got: list[str | None] = []
    for keys, after in code["changes"](world.admin, log, cursor, limit):
        got += keys
        cursor = after
    assert sorted(map(str, got)) == [str(n) for n in range(1, 8)]
    late.commit()
    world.run("truncate public.t")
    stored = code["follow"](world.admin, log, cursor.to_json(), got.extend)
    assert got[7:] == ["late", None]
    assert code["follow"](world.admin, log, stored, got.extend) == stored
    assert len(got) == 9


def test_the_asynchronous_reader_misses_nothing(world: World, code: dict[str, Any]) -> None:
    """The same round from an event loop."""
    log, stored = log_of(world), code["first_cursor"](world.admin).to_json()
    got: list[str | None] = []

    async def deal_with(keys: list[str | None]) -> None:
        got.extend(keys)

    world.run("insert into public.t select n::text, 'a' from generate_series(1, 250) n")
    after = asyncio.run(code["follow_async"](world.admin, log, stored, deal_with))
    assert sorted(map(str, got)) == sorted(str(n) for n in range(1, 251))
    assert asyncio.run(code["follow_async"](world.admin, log, after, deal_with)) == after
