"""Tools that watch rows do not see TRUNCATE: no row is updated or deleted, no row trigger fires.

All documents stay; those whose rows are inserted again in the same transaction look right by
chance.  txid-sync logs a truncation as a change of the whole table and sweeps the index.
"""

from __future__ import annotations

from tests.scenarios.rivals import EVERY_ROW, Outbox
from tests.scenarios.stage import Stage


def test_F16_a_truncated_table(stage: Stage) -> None:
    """Truncated and partly filled again in one transaction: the outbox keeps the ghosts."""
    stage.table("id bigint primary key, v text")
    stage.run("insert into public.t select g, 'old' from generate_series(1, 6) g")
    rival = Outbox(stage, EVERY_ROW)
    stage.sync()
    refill = stage.session()
    refill.run("truncate public.t")
    refill.run("insert into public.t values (1, 'old'), (2, 'new')")
    stage.step()
    refill.commit()
    rival.drain()
    assert rival.wrong() == dict.fromkeys("3456", "ghost")
    stage.assert_equal()


def test_F16_truncated_through_a_foreign_key(stage: Stage) -> None:
    """TRUNCATE ... CASCADE of a parent that nobody tracks empties the child."""
    stage.run("create table public.parent (id bigint primary key)")
    stage.table("id bigint primary key, parent bigint references public.parent")
    stage.run("insert into public.parent values (1)")
    stage.run("insert into public.t values (1, 1), (2, null)")
    rival = Outbox(stage, EVERY_ROW)
    stage.sync()
    stage.run("truncate public.parent cascade")
    rival.drain()
    assert rival.wrong() == {"1": "ghost", "2": "ghost"}
    stage.assert_equal()
