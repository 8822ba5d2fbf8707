"""Readers of visible commits keep what a crash of the server undoes, and miss what comes instead.

A commit is visible before it is on disk (with synchronous_commit = off; rollbacks always are).  A
crash takes it back: its document is a phantom, its txid is given out again, and the durable change
that gets it counts as read.  txid-sync sends a page only when the WAL behind its snapshot is
flushed, and throws it away if the connection that read it ends first.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.scenarios.rivals import StampedReader
from tests.scenarios.stage import Stage
from txid_sync.dev import PostgresServer
from txid_sync.errors import SourceUnavailable

WRITER_PID = "select pid from pg_stat_activity where backend_type = 'walwriter'"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that flushes WAL only when a commit asks for it."""
    settings = {"wal_writer_delay": "10s", "autovacuum": "off", "checkpoint_timeout": "1h"}
    with PostgresServer(settings=settings) as server:
        yield server


def test_F06_F13_a_crash_undoes_what_was_read(
    server: PostgresServer, stage_on: Callable[[PostgresServer], Stage]
) -> None:
    """A phantom is read by both; the server dies; its txid comes again with another row."""
    stage = stage_on(server)
    stage.table(StampedReader.COLUMNS)
    rival = StampedReader(stage)
    stage.run("insert into public.t values (1, 'durable'), (2, 'durable')")
    rival.poll()
    stage.sync()
    sent = len(stage.sent)

    ((wal_writer,),) = stage.run(WRITER_PID)
    os.kill(wal_writer, signal.SIGSTOP)
    writer = stage.session()
    writer.run("set synchronous_commit = off")
    writer.run("update public.t set v = 'phantom' where id = 1")
    ((phantom,),) = writer.run("select txid_current()")
    writer.commit()
    rival.poll()
    stage.after_reading(server.kill9)
    with pytest.raises(SourceUnavailable):
        stage.step()
    server.start()
    stage.reconnect()
    rival.reconnect()

    assert stage.run("select v from public.t where id = 1") == [("durable",)]
    stage.run("update public.t set v = 'after the crash' where id = 2")
    assert stage.run("select txid from public.t where id = 2") == [(phantom,)]
    rival.poll()
    assert rival.wrong() == {"1": "stale", "2": "stale"}
    stage.assert_equal()
    assert all(b"phantom" not in page.body for page in stage.sent[sent:])
