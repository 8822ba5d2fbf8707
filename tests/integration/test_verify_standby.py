"""Verification through a hot standby, on real servers."""

from __future__ import annotations

import contextlib
import time

from tests.integration.standbys import DATABASE, Sync, pair, syncing
from txid_sync.model import Document, Limits
from txid_sync.sources.postgres import PostgresSource
from txid_sync.verifier import Verifier, VerifyOptions
from txid_sync.verify_state import Pass


def verified(sync: Sync) -> Pass:
    """A whole verification through the same server, beside the syncer."""
    documents = [Document("public.t", "t")]
    source = PostgresSource(sync.dsn, documents)
    options = VerifyOptions(Limits(documents=5), settle_seconds=0.3, save_seconds=0.0)
    verifier = Verifier("p", source, sync.sink, sync.store.other(), documents, options)
    with contextlib.closing(source):
        while (pause := verifier.step()) is not None:
            time.sleep(pause)
    return verifier.pass_


def test_F07_a_verification_on_a_standby() -> None:
    """What a standby hides is no difference, what is not read yet is unsettled, and what somebody
    altered is found."""
    with pair() as (primary, standby), syncing(standby) as sync:
        sync.ends_equal(standby)
        with contextlib.closing(primary.connect(DATABASE)) as session:
            session.cursor().execute("begin; update t set n = 100 where id = 1")
            primary.ask("update t set n = 50 where id = 9")
            standby.caught_up_with(primary)
            sync.ends_equal(standby)
            assert (verified(sync).left, verified(sync).unsettled) == (0, 0)
            session.cursor().execute("commit")
        standby.caught_up_with(primary)
        assert (verified(sync).left, verified(sync).unsettled) == (0, 1)
        sync.ends_equal(standby)
        version, _ = sync.sink.indices["t"].documents["5"]
        sync.sink.indices["t"].documents["5"] = version, b'{"id":5}\n'
        assert (verified(sync).left, verified(sync).unsettled) == (1, 0)
