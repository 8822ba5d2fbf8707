"""Tools whose role sees only some rows take the others for deleted, without any error.

A policy filters silently: a row that is there and hidden looks like one that is gone, and a page
of changes looks short.  txid-sync reads with `row_security = off`, under which PostgreSQL refuses
to answer where it would have to hide something, and stops with that message.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.rivals import EVERY_ROW, Outbox
from tests.scenarios.stage import Stage
from txid_sync import schema
from txid_sync.errors import PreconditionError


@pytest.fixture
def role(stage: Stage) -> Iterator[str]:
    """A role that may read and, by its policies, not everything."""
    name = f"reader_{stage.database.name}"
    stage.run(f"create role {name} login")
    yield name
    stage.run(f"drop owned by {name}")
    stage.run(f"drop role {name}")


def test_F05_a_hidden_row_is_no_deleted_one(stage: Stage, role: str) -> None:
    """A policy comes while both tools run: the rival deletes documents, ours stops."""
    stage.table("id bigint primary key, tenant text, v text")
    stage.run("insert into public.t select g, 'a', 'old' from generate_series(1, 3) g")
    rival = Outbox(stage, EVERY_ROW)
    stage.run(f"grant select, delete on public.outbox to {role}")
    stage.run(f"grant select on public.t to {role}")
    rival.rows(f"set role {role}")
    stage.reader = role
    schema.grant_reader(stage.database.connect(), role)
    stage.sync()

    stage.run("alter table public.t enable row level security")
    stage.run("create policy own on public.t for select using (tenant = 'a')")
    stage.run("update public.t set v = 'new' where id = 1")
    stage.run("update public.t set tenant = 'b' where id = 2")
    rival.drain()
    assert rival.wrong() == {"2": "missing"}
    with pytest.raises(PreconditionError, match="row-level security"):
        stage.sync()
    assert sorted(stage.held()) == ["1", "2", "3"]

    stage.run("alter table public.t disable row level security")
    stage.new_process()
    stage.assert_equal()
