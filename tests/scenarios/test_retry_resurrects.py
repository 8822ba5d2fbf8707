"""Sinks without versions bring a deleted document back when a request is repeated too late.

The answer to a request is lost, the row is deleted and the delete arrives, then the first request
is sent again, by the client's retry or by a proxy's.  txid-sync's requests carry versions: one that
is older than the delete is refused, whoever sends it again.
"""

from __future__ import annotations

from tests.scenarios.rivals import Writer
from tests.scenarios.stage import Stage


def test_a_request_is_repeated_after_the_delete(stage: Stage) -> None:
    """The very bytes of both tools' earlier requests are sent once more."""
    stage.table("id bigint primary key, v text")
    rival = Writer(stage)
    stage.sync()
    stage.run("insert into public.t values (1, 'deleted later'), (2, 'changed later')")
    lost = rival.body(stage.truth())
    rival.send(lost)
    stage.sync()
    ours = stage.sent[-1].body

    stage.run("delete from public.t where id = 1")
    stage.run("update public.t set v = 'changed' where id = 2")
    rival.send(rival.body({"1": None, **stage.truth()}))
    stage.sync()
    assert rival.wrong() == {}

    rival.send(lost)
    told = stage.bulk(stage.index_of(), ours)
    assert [item["index"]["status"] for item in told["items"]] == [409, 409]
    assert rival.wrong() == {"1": "ghost", "2": "stale"}
    stage.assert_equal()
