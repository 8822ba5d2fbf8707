"""Tools with several consumers lose batches and keep old rows, if nothing but luck orders them.

Two workers that share one position: the one that is quicker moves it past the batch that the other
still has in hand, and dies with.  Two writers without versions: an old batch that arrives late
overwrites the newer one for ever.  txid-sync counts what is acknowledged, stores it by compare and
set, and every write carries its version.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.scenarios.rivals import Reader, Writer
from tests.scenarios.stage import Stage
from txid_sync.errors import TakenOver


class Worker(Reader):
    """Takes batches from a position that all workers share, moved when a batch is taken."""

    def batch(self) -> list[tuple[Any, ...]]:
        """The next three rows; the shared position moves beyond them."""
        moved = "update public.shared set last = last + 3 returning last - 3"
        ((last,),) = self.rows(moved)
        read = "select id::text, row_to_json(t) from public.t where seq > %s and seq <= %s"
        return self.rows(read, last, last + 3)


def test_F21_a_batch_dies_with_its_worker(stage: Stage) -> None:
    """One worker takes a batch and dies, the other goes on behind it; ours reads it again."""
    stage.table("id bigint primary key, seq bigserial")
    stage.run("create table public.shared as select 0 as last")
    one, other = Worker(stage), Worker(stage)
    stage.size = 3
    stage.sync()
    stage.run("insert into public.t select generate_series(1, 6)")

    one.batch()
    other.take(other.batch())
    stage.die_before_sending()

    assert other.wrong() == dict.fromkeys("123", "missing")
    stage.assert_equal()


def test_F23_an_old_batch_overtakes_a_newer_one(stage: Stage) -> None:
    """A batch waits in one consumer while the other reads and writes the next change of its row."""
    stage.table("id bigint primary key, v text")
    stage.run("insert into public.t values (1, 'first'), (2, 'first')")
    rival = Writer(stage)
    stage.sync()

    stage.run("update public.t set v = 'second'")
    slow = rival.body(stage.truth())

    def others_go_on() -> None:
        stage.run("update public.t set v = 'third' where id = 1")
        stage.run("delete from public.t where id = 2")
        rival.send(rival.body({**stage.truth(), "2": None}))
        stage.new_process()
        stage.assert_equal()

    first = stage.pipeline
    stage.before_sending(others_go_on)
    assert first.step()
    rival.send(slow)
    assert rival.wrong() == {"1": "stale", "2": "ghost"}
    with pytest.raises(TakenOver):
        stage.sync(first)
    stage.assert_equal()
