"""Indices versioned by a timestamp or a txid refuse the newer row when its writer began earlier.

Along one row's history neither of the two rises: the transaction that began first may be the last
to write the row, and its document carries the lower version, refused for ever.  txid-sync's version
is the clock of the snapshot that read the row, which only rises.
"""

from __future__ import annotations

import json

import pytest

from tests.scenarios.rivals import Writer
from tests.scenarios.stage import Stage

VERSIONS = {
    "timestamp": "(extract(epoch from updated_at) * 1000000)::bigint",
    "txid": "txid",
}


@pytest.mark.parametrize("kind", VERSIONS)
def test_the_earlier_transaction_writes_last(stage: Stage, kind: str) -> None:
    """Both changes are polled in the right order; the index refuses the second of the rival."""
    stage.table("id bigint primary key, v text, updated_at timestamptz, txid bigint")
    stage.run("insert into public.t values (1, 'first', now(), txid_current())")
    rival = Writer(stage)
    stage.sync()

    def poll() -> int:
        read = f"select {VERSIONS[kind]}, row_to_json(t) from public.t"
        ((version, document),) = stage.run(read)
        head = {"_id": "1", "version": version, "version_type": "external_gte"}
        lines = json.dumps({"index": head}) + "\n" + json.dumps(document) + "\n"
        answer = rival.send(lines.encode())
        return int(answer["items"][0]["index"]["status"])

    change = "update public.t set v = %s, updated_at = now(), txid = txid_current()"
    early = stage.session()
    early.run("select txid_current()")
    stage.run(change, "second")
    assert poll() == 201
    stage.sync()
    early.run(change, "third")
    early.commit()
    assert poll() == 409
    assert rival.wrong() == {"1": "stale"}
    stage.assert_equal()
