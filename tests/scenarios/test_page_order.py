"""Readers of pages lose rows when the place they keep is not that of the last row they took.

A row fetched only to see whether there is more and then dropped; pages ordered by one rule and
continued by another; a LIMIT around a join that has no order; the greatest of each column, which
together are the place of no row.  txid-sync's place is that of the
last key of a page in the one order of the log, and the documents are joined to it afterwards.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.scenarios.rivals import StampedReader
from tests.scenarios.stage import Stage


class Peeking(StampedReader):
    """Reads one row more than it takes, to know whether there is a next page."""

    def page(self) -> bool:
        """Take all but the row that was peeked at; the place is that of the last row read."""
        self.limit += 1
        rows = self.read()
        self.limit -= 1
        self.take(rows[: self.limit])
        if rows:
            self.after = rows[-1][2:4]
        return len(rows) > self.limit


class TextOrder(StampedReader):
    """Orders by the key's text and goes on by its value: 10 comes before 9, and is above it."""

    ORDER = "txid, t.id::text"


class UnorderedJoin(StampedReader):
    """Orders the changes, joins the details to them, and cuts the result."""

    def read(self) -> list[tuple[Any, ...]]:
        """Nothing says that a join keeps the order of its input, and a hash join does not."""
        self.rows("set enable_nestloop = off; set enable_mergejoin = off")
        return self.rows(
            "select w.id::text, row_to_json(w), w.txid, w.id from"
            f" (select * from public.t where {self.NEW} order by txid, id) w"
            f" join public.details using (id) limit {self.limit}",
            self.done,
            *self.after,
        )


class GreatestOfEach(StampedReader):
    """Goes on after the greatest txid and the greatest id of a page."""

    def page(self) -> bool:
        """Take one page."""
        rows = self.read()
        self.take(rows)
        if rows:
            self.after = max(row[2] for row in rows), max(row[3] for row in rows)
        return len(rows) == self.limit


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(Peeking, id="F01_peeked"),
        pytest.param(TextOrder, id="F02_order"),
        pytest.param(UnorderedJoin, id="F03_join"),
    ],
)
def test_F01_F02_F03_the_place_is_not_that_of_the_last_row(
    stage: Stage, rule: type[StampedReader]
) -> None:
    """Twelve rows of one transaction, two to a page: each of the three rules loses some."""
    stage.table(StampedReader.COLUMNS)
    stage.run("create table public.details as select generate_series(500, 1, -1)::bigint as id")
    stage.run("analyze public.details")
    rival = rule(stage)
    stage.sync()
    stage.run("insert into public.t select g, 'x' from generate_series(1, 12) g")
    rival.poll()
    assert set(rival.wrong().values()) == {"missing"}
    stage.assert_equal()
    assert sum(page.documents for page in stage.sent) == 12


def test_F02_the_greatest_of_each_column_is_no_place(stage: Stage) -> None:
    """The lower txid has the greater ids (for ours: log numbers), and a page ends between."""
    stage.table(StampedReader.COLUMNS)
    rival = GreatestOfEach(stage, limit=3)
    stage.size = 3
    stage.sync()
    late, early = stage.session(), stage.session()
    for session, id in ((late, 101), (early, 102)):  # who writes first has the lower log numbers
        session.run("insert into public.t values (%s)", id)
        session.commit()
    rival.poll()
    stage.sync()
    early.run("insert into public.t values (10)")
    late.run("insert into public.t values (1)")
    early.run("insert into public.t values (11)")
    late.run("insert into public.t values (2)")
    late.run("insert into public.t values (3)")
    early.commit()
    late.commit()
    rival.poll()
    assert rival.wrong() == {"2": "missing", "3": "missing"}
    stage.assert_equal()
