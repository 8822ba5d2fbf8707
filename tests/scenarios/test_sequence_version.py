"""Indices versioned by a sequence refuse a row that was inserted again after its delete.

The insert draws its number when it begins, then waits for the delete of the same key to commit;
the delete draws the number of its tombstone later.  The new row has the lower version and is
refused for ever.  txid-sync's version is that of the snapshot in which the row was seen.
"""

from __future__ import annotations

import json
import threading

from tests.scenarios.rivals import Writer
from tests.scenarios.stage import Stage
from tests.support import eventually

WAITING = "select count(*) from pg_locks where not granted and locktype = 'transactionid'"


def versioned(action: str, version: int, document: object = None) -> bytes:
    """One action of a bulk request with an external version."""
    head = {action: {"_id": "1", "version": version, "version_type": "external_gte"}}
    lines = [head, document] if document is not None else [head]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def test_the_tombstone_is_above_the_row(stage: Stage) -> None:
    """Delete and insert of one key race: the row's number is drawn before the tombstone's."""
    stage.table("id bigint primary key, version bigint not null")
    stage.run("create sequence public.versions")
    stage.run("create table public.tombstones (id bigint, version bigint)")
    stage.run("insert into public.t values (1, nextval('public.versions'))")
    stage.sync()

    deleting, inserting = stage.session(), stage.session()
    deleting.run("delete from public.t where id = 1")
    insert = "insert into public.t values (1, nextval('public.versions'))"
    thread = threading.Thread(target=inserting.run, args=(insert,))
    thread.start()
    try:
        eventually(lambda: stage.run(WAITING) == [(1,)])
        deleting.run("insert into public.tombstones values (1, nextval('public.versions'))")
    finally:
        deleting.commit()
        thread.join()
    stage.sync()
    assert stage.held() == {}
    inserting.commit()

    rival = Writer(stage)
    ((tombstone,),) = stage.run("select version from public.tombstones")
    ((row,),) = stage.run("select version from public.t")
    assert row < tombstone
    rival.send(versioned("delete", tombstone))
    refused = rival.send(versioned("index", row, stage.truth()["1"]))
    assert refused["items"][0]["index"]["status"] == 409
    assert rival.wrong() == {"1": "missing"}
    stage.assert_equal()
