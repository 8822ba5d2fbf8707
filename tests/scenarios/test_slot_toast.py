"""Readers that build documents from WAL records lose large values which an update left unchanged.

A value stored out of line is not in the record of an update that does not touch it: "unchanged
toast datum" comes in its place.  txid-sync reads the row itself.
"""

from __future__ import annotations

from tests.scenarios.rivals import SlotReader
from tests.scenarios.stage import Stage

LARGE = "(select string_agg(md5(g::text), '') from generate_series(1, 300) g)"


def test_an_update_beside_a_large_value(slot_stage: Stage) -> None:
    """The update of a short column: the large one is not there for the rival."""
    stage = slot_stage
    stage.table("id bigint primary key, short text, large text")
    stage.run(f"insert into public.t values (1, 'old', {LARGE})")
    rival = SlotReader(stage)
    stage.sync()
    stage.run("update public.t set short = 'new'")
    ((_, columns),) = rival.consume()
    assert columns["large"] == "unchanged-toast-datum"
    new = {"id": int(columns["id"]), "short": columns["short"].strip("'"), "large": None}
    rival.take([(columns["id"], new)])
    assert rival.wrong() == {"1": "stale"}
    stage.assert_equal()
