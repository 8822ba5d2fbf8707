"""Shares of keys of every kind, as the server computes them."""

from __future__ import annotations

from contextlib import closing
from random import Random
from typing import Any

import pytest
from psycopg2.extensions import make_dsn
from psycopg2.sql import SQL, Identifier

from tests.integration.streams import Action, World, actions, drain, world_of
from tests.support import Database
from txid_sync.cursor import Cursor
from txid_sync.errors import PreconditionError
from txid_sync.model import Document, Limits
from txid_sync.share import Share, hash_of
from txid_sync.sources import postgres_catalog
from txid_sync.sources.postgres_prepared import array
from txid_sync.sources.postgres_session import QUERIES
from txid_sync.sources.postgres_sql import hashes

pytestmark = pytest.mark.integration

TABLES = {
    "bigint": ("id bigint primary key", "select (i - 100) * 7919 * 10::bigint ^ (i % 12)"),
    "uuid": ("id uuid primary key", "select md5(i::text)::uuid"),
    "date": ("id date primary key", "select date '1999-12-30' + i"),
    "text": ("id text primary key", "select chr(200 + i % 50) || ',' || i || '\\'"),
    "numeric": ("id numeric primary key", "select (i - 100) / 8.0"),
    "stamp": ("id timestamptz primary key", "select timestamptz '2026-01-01' + i * interval '1 m'"),
    "pair": ("x int, y text, primary key (x, y)", "select -i, i || ',ü'"),
    "plain": ("x int, y uuid, primary key (x, y)", "select i, md5(i::text)::uuid"),
}
ROWS = 200


def filled(world: World, kind: str) -> None:
    """A tracked table of this kind."""
    columns, rows = TABLES[kind]
    world.run(f"create table public.t ({columns})")
    world.track("public.t")
    world.run(f"insert into public.t {rows} from generate_series(1, {ROWS}) i")


def loaded(world: World, share: Share) -> list[Action]:
    """What the load of a share gives."""
    source, after, found = world.source(Document("public.t", "t"), share=share), None, []
    while True:
        page = source.load("t", after, 1, Limits(documents=30))
        found += actions(page.page)
        after = page.next
        if after is None:
            source.close()
            return found


def check(world: World, kind: str, of: int) -> None:
    """Load and stream of every share give what the program says, and nothing else."""
    filled(world, kind)
    everything = sorted(action.id for action in loaded(world, Share()))
    assert len(everything) == ROWS
    begun: list[tuple[Share, Cursor]] = []
    for share in Share.all(of):
        mine = [id for id in everything if share.holds(id)]
        assert sorted(action.id for action in loaded(world, share)) == mine
        begun.append((share, world.source(Document("public.t", "t")).begin()[0]))
    world.run("delete from public.t")
    for share, cursor in begun:
        mine = [id for id in everything if share.holds(id)]
        _, found, _ = drain(world.source(Document("public.t", "t"), share=share), cursor, size=30)
        assert sorted(action.id for action in found) == mine
        assert all(action.document is None for action in found)


@pytest.mark.parametrize("of", [2, 5])
@pytest.mark.parametrize("kind", TABLES)
def test_A10_F18_load_and_stream_give_each_key_to_its_share(
    database: Any, kind: str, of: int
) -> None:
    """Negative numbers, uuids, dates, texts, composite keys: server and program agree."""
    with world_of(database) as world:
        check(world, kind, of)


def test_the_program_hashes_as_the_server_does(database: Any) -> None:
    """Texts of every length up to some rounds, with all that is escaped."""
    random, wanted = Random(20261122), []
    for length in range(60):
        wanted += ["".join(random.choices("ab,\\ 9é漢\U0001f600\x01", k=length)) for _ in range(9)]
    with world_of(database) as world:
        filled(world, "bigint")
        source = world.source(Document("public.t", "t"))
        source.connect()
        session = source._session
        escaped = SQL(QUERIES["escaped"]).format(text=Identifier("text"))
        query = SQL("select {} as text from unnest(%(texts)s::text[]) given(text)").format(escaped)
        found = [row["text"] for row in session.rows(query, {"texts": array(wanted)})]
        hashed = session.row(hashes(), {"texts": array(found)})["hashes"]
    assert hashed == [hash_of(text) for text in wanted]


def test_a_server_that_hashes_otherwise_is_refused(database: Any, monkeypatch: Any) -> None:
    """By workers only; whoever reads all keys does not hash."""
    monkeypatch.setattr(postgres_catalog, "hash_of", lambda _: 7)
    with world_of(database) as world:
        filled(world, "bigint")
        assert loaded(world, Share())
        with pytest.raises(PreconditionError, match="hashes texts otherwise"):
            loaded(world, Share(1, 2))


def test_shares_in_a_database_of_another_encoding(database: Any) -> None:
    """The hash is that of the id in UTF-8, whatever the database keeps it in."""
    name = f"{database.name}_latin"
    options = "encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0"
    with closing(database.connect()) as admin, admin.cursor() as cursor:
        cursor.execute(f'create database "{name}" {options}')
    other = Database(name, make_dsn(database.dsn, dbname=name))
    try:
        with world_of(other) as world:
            check(world, "text", 3)
            world.run("insert into public.t values (chr(233))")
            (action,) = loaded(world, Share.of_id("é", 3))
            assert (action.id, action.document) == ("é", {"id": "é"})
    finally:
        other.close()
        with closing(database.connect()) as admin, admin.cursor() as cursor:
            cursor.execute(f'drop database "{name}" with (force)')
