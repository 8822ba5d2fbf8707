"""Full copies that page by OFFSET skip rows when earlier ones are deleted meanwhile.

Each page counts from the beginning again; for every row that went before it, one is passed over.
txid-sync's load goes on after the last key, and what changes meanwhile comes by the stream.
"""

from __future__ import annotations

from tests.scenarios.rivals import FIRST_LOAD, Reader
from tests.scenarios.stage import Stage


class OffsetCopy(Reader):
    """The usual `order by id limit 2 offset n`."""

    offset = 0

    def page(self) -> bool:
        """Copy one page; whether there was one."""
        rows = self.rows(f"{FIRST_LOAD} order by t.id limit 2 offset {self.offset}")
        self.take(rows)
        self.offset += 2
        return bool(rows)


def test_rows_deleted_before_the_offset(stage: Stage) -> None:
    """Two rows of the first page are deleted: two of the next are never read by the rival."""
    stage.table("id bigint primary key")
    stage.run("insert into public.t select generate_series(1, 10)")
    rival = OffsetCopy(stage)
    rival.page()
    assert stage.pipeline.status().loading
    while not stage.sent:
        stage.step()
    stage.run("delete from public.t where id <= 2")
    while rival.page():
        pass
    assert {id for id, what in rival.wrong().items() if what == "missing"} == {"3", "4"}
    assert stage.pipeline.status().loading
    stage.assert_equal()
