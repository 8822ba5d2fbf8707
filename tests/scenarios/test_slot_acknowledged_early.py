"""Readers of the WAL that acknowledge before they have written lose what they had in hand.

`pg_logical_slot_get_changes`, and every client that confirms on receipt, moves the slot when the
changes are handed out; a crash before the index has them, and nobody sends them again.  txid-sync
moves its progress when the index has acknowledged.
"""

from __future__ import annotations

from tests.scenarios.rivals import SlotReader
from tests.scenarios.stage import Stage


def test_the_reader_dies_with_changes_in_hand(slot_stage: Stage) -> None:
    """Both tools die after reading and before writing; ours reads the page again."""
    stage = slot_stage
    stage.table("id bigint primary key, v text")
    stage.run("insert into public.t values (1, 'old'), (2, 'old')")
    rival = SlotReader(stage)
    stage.sync()
    stage.run("update public.t set v = 'new' where id = 1")
    assert [columns["id"] for _, columns in rival.consume()] == ["1"]  # and the process ends here
    stage.die_before_sending()

    stage.run("update public.t set v = 'newer' where id = 2")
    rival.fetch([columns["id"] for _, columns in rival.consume()])
    assert rival.wrong() == {"1": "stale"}
    stage.assert_equal()
