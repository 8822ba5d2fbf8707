"""Timestamp pollers lose rows of writers whose session has another time zone.

In a column of type `timestamp` (without time zone) the same moment is hours apart for a writer in
Berlin and one in UTC, as it is for one writer when clocks are set back in autumn.  txid-sync uses
no clock of the wall at all.
"""

from __future__ import annotations

from tests.scenarios.rivals import timestamp_poller
from tests.scenarios.stage import Stage


def test_two_writers_in_two_time_zones(stage: Stage) -> None:
    """The writer in UTC is hours "before" what the poller has seen."""
    stage.table("id bigint primary key, updated_at timestamp not null default now()")
    rival = timestamp_poller(stage)
    stage.sync()
    berlin, utc = stage.session(), stage.session()
    berlin.run("set time zone 'Europe/Berlin'")
    utc.run("set time zone 'UTC'")
    for writer, id in ((berlin, 1), (utc, 2)):
        writer.run("insert into public.t values (%s)", id)
        writer.commit()
        rival.drain()
        stage.sync()
    assert rival.wrong() == {"2": "missing"}
    stage.assert_equal()
