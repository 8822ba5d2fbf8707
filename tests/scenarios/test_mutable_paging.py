"""Full copies that page by a column that can change miss rows that move back over their place.

`where (rank, id) > last order by rank, id` is quick and has no OFFSET, but a row whose rank falls
while the copy runs is before the place when it was behind, and is never met.  txid-sync's load goes
by the key, and a row whose key changes is logged under both.
"""

from __future__ import annotations

from tests.scenarios.rivals import Reader
from tests.scenarios.stage import Stage


class RankCopy(Reader):
    """Pages by (rank, id)."""

    after = (0, 0)

    def page(self) -> bool:
        """Copy one page; whether there was one."""
        rows = self.rows(
            "select id::text, row_to_json(t), rank, id from public.t where (rank, id) > (%s, %s)"
            " order by rank, t.id limit 2",
            *self.after,
        )
        self.take(rows)
        if rows:
            self.after = rows[-1][2:4]
        return bool(rows)


def test_a_row_moves_back_while_the_copy_runs(stage: Stage) -> None:
    """Ranks for the rival, and keys for us, change over the place that the copies have reached."""
    stage.table("id bigint primary key, rank int")
    stage.run("insert into public.t select g, g from generate_series(1, 10) g")
    rival = RankCopy(stage)
    rival.page()
    assert stage.pipeline.status().loading
    while len(stage.sent) < 2:
        stage.step()
    stage.run("update public.t set rank = 0 where id = 9")
    stage.run("update public.t set id = 0 where id = 8")
    while rival.page():
        pass
    assert {id for id, what in rival.wrong().items() if what == "missing"} == {"9"}
    assert stage.pipeline.status().loading
    stage.assert_equal()
