"""Writers lose documents by what they make of a bulk answer: belief, alarm, or giving up.

HTTP 200 only says that the request was read; each item has its own outcome.  Who believes the 200
loses what was refused.  Who stops at the first failed item never comes past one bad document.
Who counts the 404 of a delete as a failure never comes past a row that came and went between two
polls.  txid-sync reads every item: refused for good is a dead letter, 404 of a delete is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.scenarios.rivals import Writer
from tests.scenarios.stage import Stage
from tests.support import eventually

MAPPING = {"mappings": {"properties": {"n": {"type": "integer"}}}}


class StopsAtFailure(Writer):
    """Sends a batch again until no item has failed: the behaviour of the usual bulk helpers."""

    def __init__(self, stage: Stage, mapping: object = None) -> None:
        super().__init__(stage, mapping)
        self.queue: list[Mapping[str, Any]] = []

    def run(self, tries: int = 5) -> int:
        """Work off the queue; how many batches are left after so many failures."""
        while self.queue and tries:
            told = self.send(self.body(self.queue[0]))
            statuses = [outcome["status"] for item in told["items"] for outcome in item.values()]
            if all(200 <= status < 300 for status in statuses):
                self.queue.pop(0)
            else:
                tries -= 1
        return len(self.queue)


def test_a_200_that_refuses_an_item_is_believed(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """A blocked index refuses every item, with HTTP 200: ours sends them again."""
    stage.table("id bigint primary key")
    rival = Writer(stage)
    stage.sync()
    held_by = f"{stage.index_of()},{rival.index}"

    def block(on: bool) -> None:
        stage.server.request("PUT", f"/{held_by}/_settings", {"index.blocks.write": on})

    block(True)
    stage.run("insert into public.t values (1), (2)")
    assert rival.send(rival.body(stage.truth()))["errors"] is True
    assert stage.step()
    eventually(lambda: "block" in caplog.text)
    block(False)
    assert rival.wrong() == {"1": "missing", "2": "missing"}
    stage.assert_equal()


def test_F20_one_bad_document_stops_everything(stage: Stage) -> None:
    """A value that the index can not hold: the rival repeats its batch, ours keeps a letter."""
    stage.table("id bigint primary key, n numeric")
    stage.server.request("PUT", f"/{stage.index_of()}", MAPPING)
    rival = StopsAtFailure(stage, MAPPING)
    stage.sync()
    for id, n in enumerate((1, 10**12, 3, 4), 1):
        stage.run("insert into public.t values (%s, %s)", id, n)
        rival.queue.append({str(id): stage.truth()[str(id)]})
    stage.sync()
    assert rival.run() == 3
    assert rival.wrong() == dict.fromkeys("234", "missing")
    assert sorted(stage.held()) == ["1", "3", "4"]
    _, letters = stage.pipeline._sink.dead_letters()
    assert [letter.id for letter in letters] == ["2"]

    stage.run("update public.t set n = 2 where id = 2")
    stage.assert_equal()
    assert stage.pipeline._sink.dead_letters()[0] == 0


def test_F20_the_delete_of_what_never_was(stage: Stage) -> None:
    """A row came and went between two polls: its delete finds nothing, and that is right.

    The second time it is in one request with a document that is refused, so that the answer as a
    whole tells of errors.
    """
    stage.table("id bigint primary key, n numeric")
    stage.server.request("PUT", f"/{stage.index_of()}", MAPPING)
    rival = StopsAtFailure(stage)
    stage.size = 10
    stage.sync()
    for id in (1, 3):
        stage.run("insert into public.t values (%s, 0)", id)
        stage.run("delete from public.t where id = %s", id)
        if id == 3:
            stage.run("insert into public.t values (4, 1e12)")
        stage.run("insert into public.t values (%s, 0)", id + 10)
        stage.sync()
    rival.queue = [{"1": None}, {"11": stage.truth()["11"]}]
    assert rival.run() == 2
    assert rival.wrong()["11"] == "missing"

    assert sorted(stage.held()) == ["11", "13"]
    _, letters = stage.pipeline._sink.dead_letters()
    assert [letter.id for letter in letters] == ["4"]
    stage.run("delete from public.t where id = 4")
    stage.assert_equal()
