"""A primary as the source that fails over, is restored, reset, upgraded or put back: the ends are
equal afterwards, or the run stops and says why."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

import pytest
from psycopg2.extensions import make_dsn

from tests.integration.pooler import pooler
from tests.integration.programs import Program, program
from tests.integration.standbys import (
    DATABASE,
    Server,
    both,
    finish_prepared,
    identity_of,
    prepare,
    syncing,
    work,
    writing,
)
from tests.support import eventually
from txid_sync import schema
from txid_sync.dev.postgres import remove_shared_memory
from txid_sync.errors import PreconditionError

__all__ = ["program"]


@contextlib.contextmanager
def single(**settings: object) -> Iterator[Server]:
    """A primary with the table."""
    with Server(**settings) as server:
        prepare(server)
        yield server


def freeze(server: Server) -> None:
    """Let every row be visible, whatever the counter is set to."""
    for dbname in (DATABASE, "postgres", "template1"):
        server.ask("vacuum (freeze)", dbname=dbname)


def next_txid(server: Server) -> int:
    """The txid that the server gives out next."""
    return int(server.ask("select txid_snapshot_xmax(txid_current_snapshot())")[0][0])


def test_B05_B06_the_leader_restarts_alone() -> None:
    """A primary that restarts or crashes under writers is waited for; nothing is written again."""
    with single() as server, syncing(server, size=3) as sync:
        for how in ("fast", "kill"):
            with writing(server):
                work(sync, 1.5)
                server.kill9() if how == "kill" else server.stop("fast")
            server.start()
            finish_prepared(server)
            sync.ends_equal(server)
        assert sync.epoch == 1


def test_B06_F12_failover_without_loss() -> None:
    """The leader is killed, the standby is promoted; the syncer waits for a server that takes
    writes, notices the new timeline and goes on."""
    with single() as leader, Server(leader) as heir, syncing(leader) as sync:
        sync.restart(both(leader, heir))
        with writing(leader):
            work(sync, 1.5)
        finish_prepared(leader)
        heir.caught_up_with(leader)
        leader.kill9()
        assert heir.ask("select pg_is_in_recovery()")[0][0]
        heir.promote()
        with writing(heir):
            work(sync, 1.5)
        finish_prepared(heir)
        sync.ends_equal(heir)
        assert (sync.epoch, identity_of(sync)["timeline"]) == (2, "00000002")


def test_B06_F08_F12_failover_with_loss(program: Program) -> None:
    """An asynchronous standby that misses the last transactions is promoted and gives their txids
    out again: phantoms go, and what was written under the same txids arrives; in memory, and with
    the program and a real index."""
    with single() as leader, Server(leader) as heir, syncing(leader) as sync:
        sync.restart(both(leader, heir))
        sync.ends_equal(leader)
        heir.caught_up_with(leader)
        heir.cut_off()
        before = next_txid(leader)
        for n in range(1, 31):
            leader.ask("update t set n = 1000, who = 'lost' where id = %s", n)
        leader.ask("insert into t values (-1, 0, 'phantom')")
        leader.ask("delete from t where id = 40")
        sync.ends_equal(leader)
        program.ends_equal(leader, both(leader, heir))
        done = sync.pipeline.progress.cursor.done.xmax
        leader.kill9()
        heir.promote()
        for n in range(5, 15):
            heir.ask("update t set n = 2000, who = 'heir' where id = %s", n)
        assert before <= next_txid(heir) < done, "no txid was given out again"
        sync.ends_equal(heir)
        assert "-1" in program.documents()
        program.ends_equal(heir, both(leader, heir))
        assert sync.epoch == program.status(heir.dsn(DATABASE))["epoch"] == 2
        with writing(heir):
            work(sync, 1.0)
        finish_prepared(heir)
        sync.ends_equal(heir)


def test_A19_F08_F09_dump_and_restore_into_another_cluster(program: Program) -> None:
    """A restored database brings the log of another cluster, with txids that are yet to come: it is
    bound anew, and all later changes flow; in memory, and with the program and a real index."""
    with single() as old, syncing(old) as sync, Server() as new:
        for _ in range(300):
            old.ask("select txid_current()")
        with writing(old):
            work(sync, 1.0)
        finish_prepared(old)
        sync.ends_equal(old)
        program.ends_equal(old, old.dsn(DATABASE))
        dump = old.program("pg_dumpall", "-d", old.dsn())
        file = new.folder / "dump.sql"
        file.write_text(dump)
        new.program("psql", "-q", "-X", "-d", new.dsn(), "-f", str(file))
        assert next_txid(new) < next_txid(old)
        new.ask("update t set who = 'restored' where id < 10")
        sync.restart(new.dsn(DATABASE))
        sync.ends_equal(new)
        program.ends_equal(new, new.dsn(DATABASE))
        for n in range(5):
            new.ask("update t set n = n + 1 where id = %s", n)
            sync.ends_equal(new)
        program.ends_equal(new, new.dsn(DATABASE))
        assert sync.epoch == program.status(new.dsn(DATABASE))["epoch"] == 2


def lower(server: Server, by: int) -> int:
    """Stop the server, set its next txid back, start it; gives what the next one was."""
    freeze(server)
    high = next_txid(server)
    server.stop()
    server.program("pg_resetwal", "-x", str(high - by), "-D", str(server.data))
    server.start()
    return high


def test_A19_F10_F11_the_next_txid_is_lowered() -> None:
    """pg_resetwal sets the counter back under the same identity: noticed, everything is written
    again, and changes under the old numbers arrive; so too if rows of txids that are still to come
    were pruned from the log."""
    with single() as server, syncing(server) as sync:
        for epoch in (2, 3):
            for _ in range(300):
                server.ask("select txid_current()")
            server.ask("update t set n = 5")
            sync.ends_equal(server)
            if epoch == 3:
                pruned = server.ask("select txid_sync.upkeep('t', null, null, 100000)")
                assert pruned[0][0] > 0
            high = lower(server, 200)
            server.ask("update t set n = 6 where id = 1")
            assert next_txid(server) < high
            sync.ends_equal(server)
            assert sync.epoch == epoch
            server.ask("update t set n = 7 where id = 2")
            sync.ends_equal(server)


def test_A19_txids_above_32_bits() -> None:
    """The counter crosses 2^32 and jumps by whole epochs: nothing is lost, nothing written again
    without need."""
    with single() as server, syncing(server) as sync:
        sync.ends_equal(server)
        freeze(server)
        server.stop()
        with (server.data / "pg_xact" / "0FFF").open("wb") as file:
            file.write(bytes(256 * 1024))
        shutil.chown(server.data / "pg_xact" / "0FFF", server.data.owner(), server.data.group())
        server.program("pg_resetwal", "-x", str(2**32 - 100), "-D", str(server.data))
        server.start()
        holder = server.connect(DATABASE)
        with contextlib.closing(holder), holder.cursor() as cursor:
            cursor.execute("begin; update t set n = 77 where id = 7")
            for n in range(200):
                server.ask("update t set n = n + 1 where id = %s", 10 + n % 10)
            sync.ends_equal(server)
            assert next_txid(server) > 2**32
            assert sync.pipeline.progress.cursor.done.lowest_open < 2**32
            cursor.execute("commit")
        sync.ends_equal(server)
        assert sync.documents()["7"]["n"] == 77
        server.stop()
        server.program("pg_resetwal", "-e", "5", "-D", str(server.data))
        server.start()
        with writing(server):
            work(sync, 1.0)
        finish_prepared(server)
        sync.ends_equal(server)
        assert next_txid(server) > 5 * 2**32
        assert sync.epoch == 1


def test_F11_a_disk_image_of_the_source_is_put_back(program: Program) -> None:
    """The same identity and timeline, but an older state: versions that were sent before tell; in
    memory, and with the program and a real index."""
    with single() as server, syncing(server) as sync:
        with writing(server):
            work(sync, 1.0)
        finish_prepared(server)
        sync.ends_equal(server)
        server.stop()
        image = server.folder / "image"
        owner = server.data.owner(), server.data.group()
        shutil.copytree(server.data, image, symlinks=True)
        server.start()
        for n in range(1, 20):
            server.ask("update t set n = 1000, who = 'lost' where id = %s", n)
        server.ask("insert into t values (-1, 0, 'phantom')")
        sync.ends_equal(server)
        program.ends_equal(server, server.dsn(DATABASE))
        server.stop()
        remove_shared_memory(server.data / "postmaster.pid")
        shutil.rmtree(server.data)
        image.rename(server.data)
        for path in [server.data, *server.data.rglob("*")]:
            shutil.chown(path, *owner)
        server.start()
        server.ask("update t set n = 2000, who = 'after' where id = 3")
        sync.ends_equal(server)
        assert "-1" in program.documents()
        program.ends_equal(server, server.dsn(DATABASE))
        assert sync.epoch == program.status(server.dsn(DATABASE))["epoch"] == 2


def test_A19_F08_pg_upgrade() -> None:
    """An upgraded cluster has another identity and goes on counting: the log of its former life is
    bound anew, and everything is written again."""
    with single() as old, syncing(old) as sync, Server() as new:
        with writing(old):
            work(sync, 1.0)
        finish_prepared(old)
        sync.ends_equal(old)
        old.ask("update t set n = 9 where id = 9")
        old.stop()
        new.stop()
        new.program(
            "pg_upgrade", "-b", str(old.bin), "-B", str(new.bin), "-d", str(old.data),
            "-D", str(new.data), "-U", "postgres", "-s", str(new.data),
            "-p", str(old.port), "-P", str(new.port), folder=new.data,
        )  # fmt: skip
        new.start()
        new.ask("update t set n = 10 where id = 10")
        sync.restart(new.dsn(DATABASE))
        sync.ends_equal(new)
        assert sync.epoch == 2
        with writing(new):
            work(sync, 1.0)
        finish_prepared(new)
        sync.ends_equal(new)


def test_B13_a_logical_subscriber_as_the_source() -> None:
    """What a subscription applies, its initial copy too, reaches the sink."""
    with single(wal_level="logical") as publisher, Server() as subscriber:
        publisher.ask("create publication p for table t")
        prepare(subscriber, rows=0)
        admin = subscriber.connect(DATABASE)
        with contextlib.closing(admin):
            schema.track(admin, "public.t", "row")
        with syncing(subscriber) as sync:
            sync.drain()
            subscriber.ask(
                f"create subscription s connection '{publisher.dsn(DATABASE)}' publication p"
            )
            with writing(publisher):
                work(sync, 3.0)
            finish_prepared(publisher)
            eventually(lambda: subscriber.rows() == publisher.rows(), 120.0)
            sync.ends_equal(subscriber)
            assert sync.epoch == 1
            subscriber.ask("drop subscription s")


@pytest.mark.parametrize("prepares", [False, True])
def test_a_transaction_pooler_is_refused(prepares: bool) -> None:
    """Where the statements of one connection meet several backends, the run stops and says so: a
    prepared statement is missing, or another backend answers it."""
    with single() as server, pooler(server.port, prepares) as between, syncing(server) as sync:
        dsn = server.dsn(DATABASE)
        pooled = make_dsn(dsn, port=between.port, sslmode="disable", gssencmode="disable")
        sync.restart(pooled)
        with pytest.raises(PreconditionError, match="a transaction pooler stands between") as error:
            sync.ends_equal(server)
        assert "connect to PostgreSQL itself" in error.value.hint
        sync.restart(dsn)
        sync.ends_equal(server)
