"""Tools that log the new row leave a ghost when the key itself changes.

`coalesce(new.id, old.id)` is the new key; the document under the old one belongs to nobody.  Those
that compare the keys by value still miss 1.0 that became 1.00: equal numbers, different ids.
txid-sync logs the old key whenever its image differs.
"""

from __future__ import annotations

import pytest

from tests.scenarios.rivals import EVERY_ROW, Outbox
from tests.scenarios.stage import Stage

BOTH = (
    "if old.id is distinct from new.id then insert into public.outbox (key) values (old.id);"
    " end if; insert into public.outbox (key) values (coalesce(new.id, old.id));"
)


def test_F15_a_changed_key_leaves_a_ghost(stage: Stage) -> None:
    """A key is changed, another swapped to and fro: the old ids stay in the outbox's copy."""
    stage.table("id bigint primary key, v text")
    stage.run("insert into public.t select g, g::text from generate_series(1, 4) g")
    rival = Outbox(stage, EVERY_ROW)
    stage.sync()
    stage.run("update public.t set id = id + 10 where id <= 2")
    stage.run("update public.t set id = 99 where id = 4")
    stage.run("update public.t set id = 4 where id = 99")
    rival.drain()
    assert rival.wrong() == {"1": "ghost", "2": "ghost"}
    stage.assert_equal()


@pytest.mark.parametrize(
    ("kind", "before", "after"), [("numeric", "1.0", "1.00"), ("interval", "24:00", "1 day")]
)
def test_F15_a_key_that_changes_only_its_text(
    stage: Stage, kind: str, before: str, after: str
) -> None:
    """Equal by `=`, different as an id: also a tool that logs both keys keeps a ghost."""
    stage.table(f"id {kind} primary key")
    stage.run("insert into public.t values (%s)", before)
    (before_id,) = stage.truth()
    rival = Outbox(stage, EVERY_ROW, BOTH)
    stage.sync()
    stage.run("update public.t set id = %s", after)
    rival.drain()
    assert rival.wrong() == {before_id: "ghost"}
    stage.assert_equal()
