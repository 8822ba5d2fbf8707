"""Tools with statement triggers on a partitioned table miss writes that take another way in.

A statement addressed to a partition does not fire the parent's statement triggers, and a row that
moves to another partition is a delete there and an insert here that only the new row tells of.
txid-sync puts row triggers on partitioned tables, which every partition inherits.
"""

from __future__ import annotations

from tests.scenarios.rivals import Outbox
from tests.scenarios.stage import Stage

NEW_ROWS = "insert into public.outbox (key) select concat(region, ',', id) from changed;"
KEY = "concat(region, ',', id)"


class ByStatement(Outbox):
    """Takes the new rows of each UPDATE of the parent."""

    def __init__(self, stage: Stage) -> None:
        trigger = "after update on public.t referencing new table as changed for each statement"
        super().__init__(stage, trigger, NEW_ROWS)
        self.copy = dict(stage.truth())

    def drain(self) -> None:
        """Take the current row of each key, or its absence."""
        for (key,) in self.rows("delete from public.outbox returning key"):
            read = f"select {KEY}, row_to_json(t) from public.t where {KEY} = %s"
            self.take(self.rows(read, key) or [(key, None)])


def test_a_moving_row_and_a_direct_write(stage: Stage) -> None:
    """One row moves to another partition, another is changed in its partition by name."""
    columns = "region text, id bigint, v text, primary key (region, id)"
    stage.table(columns, key=("region", "id"), tail="partition by list (region)")
    for region in ("east", "west"):
        stage.run(f"create table public.{region} partition of public.t for values in ('{region}')")
    stage.run("insert into public.t values ('east', 1, 'a'), ('east', 2, 'a'), ('west', 3, 'a')")
    rival = ByStatement(stage)
    stage.sync()
    stage.run("update public.t set v = 'seen' where id = 3")
    stage.run("update public.t set region = 'west' where id = 1")
    stage.run("update public.east set v = 'direct' where id = 2")
    rival.drain()
    assert rival.wrong() == {"east,1": "ghost", "east,2": "stale"}
    stage.assert_equal()
