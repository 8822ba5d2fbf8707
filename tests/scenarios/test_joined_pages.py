"""Readers that count and order rows after a join end a page early, or send rows many times.

A change whose row has no partner vanishes in the join: the page looks short, "the end", and what
followed is counted as read.  In the join's order the last row is not the furthest: nothing is lost,
but pages repeat.  txid-sync counts and orders the log's keys before anything is joined to them.
"""

from __future__ import annotations

from typing import Any

from tests.scenarios.rivals import StampedReader
from tests.scenarios.stage import Stage


class CountsAfterJoin(StampedReader):
    """Cuts the changes, then joins the details to them; a short page is the last."""

    OUTER = "order by w.txid, w.id"

    def read(self) -> list[tuple[Any, ...]]:
        """The changes of a page that have details."""
        self.rows("set enable_nestloop = off; set enable_mergejoin = off")
        cut = f"order by txid, id limit {self.limit}"
        return self.rows(
            "select w.id::text, row_to_json(w), w.txid, w.id from"
            f" (select * from public.t where {self.NEW} {cut}) w"
            f" join public.details using (id) {self.OUTER}",
            self.done,
            *self.after,
        )


class JoinOrder(CountsAfterJoin):
    """The same without an order outside the join."""

    OUTER = ""


def details(stage: Stage, ids: str) -> None:
    """The partners of some rows, those of the highest ids first."""
    stage.run(f"create table public.details as select id::bigint from {ids} id order by id desc")
    stage.run("insert into public.details select g from generate_series(1000, 1500) g")
    stage.run("analyze public.details")


def test_F05_a_row_without_a_partner_ends_a_page(stage: Stage) -> None:
    """The third of ten rows has no details: all after its page are lost by the rival.

    For ours the first page is short too: of one row, changed twice.
    """
    stage.table(StampedReader.COLUMNS)
    details(stage, "unnest(array[0, 1, 2, 4, 5, 6, 7, 8, 9, 10])")
    rival = CountsAfterJoin(stage)
    stage.run("insert into public.t values (0, 'x')")
    rival.poll()
    stage.sync()
    writer = stage.session()
    writer.run("update public.t set v = 'y'")
    writer.run("update public.t set v = 'z'")
    writer.run("insert into public.t select g, 'x' from generate_series(1, 10) g")
    writer.commit()
    rival.poll()
    lost = rival.wrong()
    assert lost.pop("3") == "missing"  # it has no document by the rival's own definition
    assert sorted(lost, key=int) == ["4", "5", "6", "7", "8", "9", "10"]
    stage.assert_equal()


def test_F04_pages_in_the_order_of_a_join_repeat(stage: Stage) -> None:
    """Nothing is lost in the join's order, but twenty rows are sent far more than twenty times."""
    stage.table(StampedReader.COLUMNS)
    details(stage, "generate_series(1, 20)")
    rival = JoinOrder(stage, limit=10)
    stage.size = 10
    stage.sync()
    stage.run("insert into public.t select g, 'x' from generate_series(1, 20) g")
    rival.poll()
    assert rival.wrong() == {}
    assert rival.taken > 3 * 20
    stage.assert_equal()
    assert sum(page.documents for page in stage.sent) == 20
