"""Names, keys and values of every awkward kind, in the stream, the load and lookups."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.streams import World, actions, drain, state, world_of
from txid_sync.model import Document, Limits

T = Document("public.t", "t")


@pytest.fixture
def world(database: Any) -> Iterator[World]:
    """A fresh database with our schema."""
    with world_of(database) as world:
        yield world


def test_W07_composite_text_keys_have_injective_ids(world: World) -> None:
    """Keys with separators, escapes, empty and foreign letters come back by their ids."""
    world.run("create table public.t (a text, b int, c text, primary key (a, b))")
    world.track("public.t")
    source = world.source(T)
    cursor, _ = source.begin()
    keys = [("", 1), (",", 1), ("\\", 2), ("a,1", 1), ("a", 11), ("ü\n\"", -5), ("%s", 0)]
    for a, b in keys:
        world.run("insert into public.t values (%s, %s, 'x')", a, b)
    _, got, _ = drain(source, cursor, 2)
    assert len({a.id for a in got}) == len(keys)
    found = source.lookup("t", [a.id for a in got], 1)
    assert {(a.document["a"], a.document["b"]) for a in actions(found)} == set(keys)
    assert {a.id for a in actions(found)} == {a.id for a in got}


def test_a_single_empty_text_key_has_an_id(world: World) -> None:
    """The empty text is a key like any other, in the stream, the load and a lookup."""
    world.run("create table public.t (k text primary key)")
    world.track("public.t")
    source = world.source(T)
    cursor, _ = source.begin()
    world.run("insert into public.t values ('')")
    _, got, _ = drain(source, cursor)
    assert [a.id for a in got] == ["\\0"]
    assert actions(source.lookup("t", ["\\0"], 1))[0].document == {"k": ""}
    assert actions(source.load("t", None, 1, Limits()).page)[0].id == "\\0"


@pytest.mark.parametrize("name", ['Odd "Na;me%', "é" * 31 + "x", "select", "a'b\\c"])
def test_W05_awkward_names_everywhere(world: World, name: str) -> None:
    """Tables, schemas and columns with quotes, percent signs, unicode or keywords as names."""
    quoted = '"' + name.replace('"', '""') + '"'
    world.run(f"create schema {quoted}")
    world.run(f"create table {quoted}.{quoted} ({quoted} text primary key, t int, c int)")
    world.track(f"{quoted}.{quoted}")
    both = Document(f"{quoted}.{quoted}", "all"), Document(f"{quoted}.{quoted}", "one", (name,))
    source = world.source(both[0])
    cursor, _ = source.begin()
    world.run(f"insert into {quoted}.{quoted} values ('k', 1, 2)")
    _, got, _ = drain(source, cursor)
    assert [a.document for a in got] == [{name: "k", "t": 1, "c": 2}]
    one = world.source(both[1])
    assert [a.document for a in actions(one.load("one", None, 1, Limits()).page)] == [{name: "k"}]
    assert source.describe()["all"].key == (name,)


def test_W08_B15_values_arrive_exactly(world: World) -> None:
    """Types as JSON numbers, texts and nulls; 64-bit and negative numbers exact; raw newlines."""
    world.run(
        "create table public.t (id bigint primary key, n numeric, f float8, b boolean, j json, "
        "jb jsonb, a text[], d date, by bytea, r int4range, u uuid, i inet, vb varbit, iv interval)"
    )
    world.track("public.t")
    source = world.source(T)
    cursor, _ = source.begin()
    world.run(
        "insert into public.t values (-9223372036854775808, 12345678901234567890.123456789, 'NaN',"
        " true, E'{\"x\":\\n [1,\\n2]}', '\"scalar\"', array['a', null, E'n\\nl'], 'infinity',"
        " '\\x00ff', '[1,5)', '00000000-0000-0000-0000-000000000001', '10.0.0.0/8', b'101',"
        " '1 mon')"
    )
    _, got, pages = drain(source, cursor)
    assert got[0].document["id"] == -(2**63)
    assert b"12345678901234567890.123456789" in pages[0].body
    assert pages[0].body.count(b"\n") == 2
    del got[0].document["n"]
    assert got[0].document == {
        "id": -(2**63), "f": "NaN", "b": True, "j": {"x": [1, 2]}, "jb": "scalar",
        "a": ["a", None, "n\nl"], "d": "infinity", "by": "\\x00ff", "r": "[1,5)",
        "u": "00000000-0000-0000-0000-000000000001", "i": "10.0.0.0/8", "vb": "101", "iv": "1 mon",
    }  # fmt: skip


@pytest.mark.parametrize(
    "column", ["json", "json[]", "public.of_json", "public.pair", "public.pair[]", "public.of_pair"]
)
def test_raw_line_ends_never_break_a_body(world: World, column: str) -> None:
    """JSON with raw line ends, bare or inside arrays, domains and composites, stays on one line."""
    world.run("create domain public.of_json as json")
    world.run("create type public.pair as (a int, j json)")
    world.run("create domain public.of_pair as public.pair")
    world.run(f"create table public.t (id int primary key, v {column})")
    world.track("public.t")
    source = world.source(T)
    cursor, _ = source.begin()
    value = "E'[1,\\n2]'::json"
    if "pair" in column:
        value = f"row(1, {value})::public.pair"
    if "[]" in column:
        value = f"array[{value}]"
    world.run(f"insert into public.t values (1, {value})")
    _, got, pages = drain(source, cursor)
    assert "[1, 2]" in json.dumps(got[0].document)
    assert pages[0].body.count(b"\n") == 2
    assert source.load("t", None, 1, Limits()).page.body.count(b"\n") == 2


def test_keys_that_look_different_are_different_documents(world: World) -> None:
    """numeric 1.0 that becomes 1.00 leaves no ghost: the old id is deleted, the new one indexed."""
    world.run("create table public.t (k numeric primary key, v int)")
    world.track("public.t")
    source = world.source(T)
    cursor, _ = source.begin()
    world.run("insert into public.t values (1.0, 1)")
    cursor, got, _ = drain(source, cursor)
    world.run("update public.t set k = 1.00, v = 2")
    _, more, _ = drain(source, cursor, 1)
    assert state(got + more) == {"1.00": {"k": 1.00, "v": 2}}


def test_keys_of_types_made_by_users_are_read_in_pages(world: World) -> None:
    """Enums, domains and citext of any schema as keys: loads go on, lookups find, streams match."""
    world.run("create schema other")
    world.run("create type other.mood as enum ('sad', 'glad', 'mad')")
    world.run("create domain public.code as text")
    world.run("create table public.t (m other.mood, c public.code, primary key (m, c))")
    world.track("public.t")
    source = world.source(T)
    cursor, _ = source.begin()
    world.run("insert into public.t select m, 'x' from unnest(enum_range(null::other.mood)) m")
    rows = {"sad,x", "glad,x", "mad,x"}
    assert set(state(drain(source, cursor, 1)[1])) == rows
    loaded, after = set[str](), None
    while True:
        page = source.load("t", after, 1, Limits(documents=1))
        loaded |= {action.id for action in actions(page.page)}
        after = page.next
        if after is None:
            break
    assert loaded == rows
    assert {a.id for a in actions(source.lookup("t", sorted(rows), 1)) if a.document} == rows
