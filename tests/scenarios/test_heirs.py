"""Tools with triggers on a table miss the rows of a table that inherits from it.

`select from t` shows an heir's rows, but its writes fire no trigger of t; the heir may come long
after the tool was set up.  txid-sync refuses such a table, also when the heir comes later.
"""

from __future__ import annotations

import pytest

from tests.scenarios.rivals import EVERY_ROW, Outbox
from tests.scenarios.stage import Stage
from txid_sync.errors import PreconditionError


def test_an_heir_comes_later(stage: Stage) -> None:
    """The heir's row is missing in the rival's copy; ours stops, until there is no heir."""
    stage.table("id bigint primary key")
    stage.run("insert into public.t values (1)")
    rival = Outbox(stage, EVERY_ROW)
    stage.sync()
    stage.run("create table public.heir () inherits (public.t)")
    stage.run("insert into public.heir values (2)")
    rival.drain()
    assert rival.wrong() == {"2": "missing"}
    with pytest.raises(PreconditionError, match="inherit"):
        stage.sync()
    stage.run("alter table public.heir no inherit public.t")
    stage.new_process()
    stage.assert_equal()
