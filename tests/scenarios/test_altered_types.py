"""Tools that watch writes do not notice that ALTER TYPE changed what stored values look like.

Renaming a label of an enum, or a field of a composite type, changes the JSON of every row that
holds one, and its id if it is in the key: no row is written, and no column of the table changes.
txid-sync's catalog fingerprint holds the labels and fields of every type that the columns use.
"""

from __future__ import annotations

import pytest

from tests.scenarios.rivals import EVERY_ROW, Outbox
from tests.scenarios.stage import Stage

MOOD = "create type public.mood as enum ('bad', 'good')"
RENAME = "alter type public.mood rename value 'bad' to 'sad'"
PAIR = "create type public.pair as (x int, mood public.mood)"


@pytest.mark.parametrize(
    ("types", "column", "value", "change"),
    [
        pytest.param([], "public.mood", "bad", RENAME, id="enum"),
        pytest.param(
            ["create domain public.moods as public.mood[]"], "public.moods", "{good,bad}", RENAME,
            id="domain_over_array",
        ),
        pytest.param([PAIR], "public.pair", "(1,bad)", RENAME, id="enum_in_composite"),
        pytest.param(
            [PAIR], "public.pair", "(1,bad)", "alter type public.pair rename attribute x to y",
            id="field",
        ),
    ],
)  # fmt: skip
def test_what_a_type_looks_like_changes(
    stage: Stage, types: list[str], column: str, value: str, change: str
) -> None:
    """Only the row that is written afterwards is right in the rival's copy."""
    for statement in (MOOD, *types):
        stage.run(statement)
    stage.table(f"id bigint primary key, n int, v {column}")
    stage.run("insert into public.t values (1, 0, %s), (2, 0, %s), (3, 0, null)", value, value)
    rival = Outbox(stage, EVERY_ROW)
    stage.sync()
    stage.run(change)
    stage.run("update public.t set n = 1 where id = 1")
    rival.drain()
    assert rival.wrong() == {"2": "stale"}
    stage.assert_equal()


def test_the_id_of_an_enum_key_changes(stage: Stage) -> None:
    """A label in the key is renamed: the document moves to another id, and leaves no ghost."""
    stage.run(MOOD)
    stage.table("id public.mood primary key, n int")
    stage.run("insert into public.t values ('bad', 0), ('good', 0)")
    rival = Outbox(stage, EVERY_ROW)
    stage.brake_off = True  # half of the documents go
    stage.sync()
    stage.run(RENAME)
    stage.run("update public.t set n = 1")
    rival.drain()
    assert rival.wrong() == {"bad": "ghost"}
    stage.assert_equal()
