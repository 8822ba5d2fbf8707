"""Tools that learn of a change from what the statement says miss what the server makes of it.

`AFTER UPDATE OF price` looks at the column list of the statement, not at the columns that a BEFORE
trigger changes; an application that reports "inserted" or "updated" by the command's name is wrong
about ON CONFLICT and MERGE.  txid-sync logs the keys of all rows that a statement touched.
"""

from __future__ import annotations

from tests.scenarios.rivals import Outbox
from tests.scenarios.stage import Stage


def test_a_column_list_does_not_see_what_a_trigger_changes(stage: Stage) -> None:
    """The price is computed by a BEFORE trigger from the quantity: the outbox never hears of it."""
    stage.table("id bigint primary key, quantity int, price int")
    stage.run("insert into public.t values (1, 1, 10), (2, 1, 10)")
    stage.run(
        "create function public.compute() returns trigger language plpgsql as"
        " $$ begin new.price := new.quantity * 10; return new; end $$"
    )
    stage.run(
        "create trigger compute before insert or update on public.t for each row"
        " execute function public.compute()"
    )
    rival = Outbox(stage, "after insert or update of price on public.t for each row")
    stage.sync()
    stage.run("update public.t set price = 0 where id = 1")
    stage.run("update public.t set quantity = 5 where id = 2")
    rival.drain()
    assert rival.wrong() == {"2": "stale"}
    stage.assert_equal()


def test_on_conflict_and_merge_take_both_ways(stage: Stage) -> None:
    """Triggers on INSERT alone, "because we only ever upsert", miss the rows that were there."""
    stage.table("id bigint primary key, v text")
    stage.run("insert into public.t select g, 'old' from generate_series(1, 6) g")
    rival = Outbox(stage, "after insert on public.t for each row")
    stage.sync()
    stage.run(
        "insert into public.t select g, 'upserted' from generate_series(1, 7, 6) g"
        " on conflict (id) do update set v = excluded.v"
    )
    stage.run(
        "merge into public.t using (values (2), (3), (8)) s(id) on t.id = s.id"
        " when matched and s.id = 3 then delete when matched then update set v = 'merged'"
        " when not matched then insert values (s.id, 'merged')"
    )
    rival.drain()
    assert rival.wrong() == {"1": "stale", "2": "stale", "3": "ghost"}
    stage.assert_equal()
