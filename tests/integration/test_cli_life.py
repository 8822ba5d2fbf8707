"""The command line on real servers: from init to uninstall, with what can go wrong in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.cli_place import ROOT, Place, place, set_source
from txid_sync.errors import ExitCode

pytestmark = pytest.mark.integration

__all__ = ["place"]

def our_objects(place: Place) -> list[tuple[Any, ...]]:
    """Everything in the database that init makes."""
    return place.sql(
        "select 'trigger', tgname::text from pg_trigger where tgname like 'txid\\_sync%'"
        " union all select 'schema', nspname from pg_namespace where nspname = 'txid_sync'"
    )


def test_W05_W07_from_init_to_uninstall(place: Place) -> None:
    """init, run --once, status, changes, run --once, uninstall: equal each time, nothing left."""
    before = place.run("run", "--once", code=ExitCode.PRECONDITION)
    assert "txid-sync init" in before.stderr
    planned = place.run("init", "--dry-run").stdout
    assert "shop.orders" in planned
    assert our_objects(place) == []
    place.run("init")
    place.run("init")
    assert our_objects(place)
    waiting = json.loads(place.run("status", "--json").stdout)
    assert waiting["started"] is False
    place.run("run", "--once")
    assert set(place.documents("orders")) == {"1", "2", "3", "4", "5"}
    assert set(place.documents("lines")) == {"1,a\\,b", "2,d"}
    place.sql(
        "update shop.orders set id = 9, note = 'moved' where id = 5;"
        "delete from public.lines where order_id = 2; update public.lines set amount = 7"
    )
    behind = json.loads(place.run("status", "--json").stdout)
    assert behind["lag_transactions"] > 0
    place.run("run", "--once")
    assert place.documents("orders")["9"] == {"id": 9, "note": "moved"}
    assert set(place.documents("orders")) == {"1", "2", "3", "4", "9"}
    assert set(place.documents("lines")) == {"1,a\\,b", "1,c"}
    level = json.loads(place.run("status", "--json").stdout)
    assert (level["lag_transactions"], level["epoch"]) == (0, 1)
    assert {d["phase"] for d in level["documents"]} == {"sync"}
    assert "sync" in place.run("status").stdout
    place.run("uninstall", "--yes")
    assert our_objects(place) == []
    place.run("status", code=ExitCode.PRECONDITION)


def test_init_dry_run_prints_sql_that_does_the_same(place: Place) -> None:
    """What --dry-run prints, run by hand, leaves nothing for init to do, no grants either."""
    state = (
        "select oid, tgname::text, tgenabled from pg_trigger where tgname like 'txid\\_sync%'"
        " union all select oid, relname, relkind from pg_class"
        " where relnamespace = 'txid_sync'::regnamespace order by 1"
    )
    role, other = f"{place.database.name}_dry", f"{place.database.name}_other"
    place.sql(f'create role "{role}"; create role "{other}"')
    place.sql(place.run("init", "--dry-run", "--reader", role).stdout)
    by_hand = place.sql(state)
    assert by_hand
    assert place.run("init", "--reader", role).stdout == ""
    assert place.sql(state) == by_hand
    done = place.run("init", "--reader", other)
    assert f"grant select on shop.orders to {other};" in done.stdout.splitlines()
    place.sql(done.stdout)
    assert place.run("init", "--reader", other).stdout == ""
    for name in (role, other):
        place.sql(f'drop owned by "{name}"; drop role "{name}"')


def test_uninstall_wants_a_confirmation(place: Place) -> None:
    """Without a terminal and without --yes nothing is removed."""
    place.run("init")
    assert "add --yes" in place.run("uninstall", code=ExitCode.USAGE).stderr
    assert our_objects(place)


def test_resync_takes_a_new_epoch(place: Place) -> None:
    """resync of one document is done by the next run, under another epoch."""
    place.run("init")
    place.run("run", "--once")
    place.run("resync", "nothing", code=ExitCode.USAGE)
    place.run("resync", f"{place.prefix}orders")
    state = json.loads(place.run("status", "--json").stdout)
    assert state["epoch"] == 2
    assert [d["phase"] for d in state["documents"]] == ["load", "sync"]
    place.run("run", "--once")
    assert {d["phase"] for d in json.loads(place.run("status", "--json").stdout)["documents"]} == {
        "sync"
    }


def test_B01_no_load_begins_with_the_changes_from_now_on(place: Place) -> None:
    """--no-load leaves out what was there; the status says sync at once."""
    place.run("init")
    place.run("run", "--once", "--no-load")
    assert place.documents("orders") == {}
    place.sql("update shop.orders set note = 'x' where id = 2")
    place.run("run", "--once")
    assert set(place.documents("orders")) == {"2"}


def test_W14_dry_run_writes_nothing(place: Place) -> None:
    """A dry run ends by itself and counts on stdout; no index is made, and no progress."""
    place.run("init")
    done = place.run("run", "--dry-run")
    assert done.stdout.startswith("dry run: 7 documents, ")
    assert json.loads(place.run("status", "--json").stdout)["started"] is False


@pytest.mark.parametrize("condition", ["nothing > 0", "amount >", "amount > 'x'"])
def test_a_wrong_condition_ends_a_run_at_once(place: Place, condition: str) -> None:
    """A condition that PostgreSQL does not take is one line that names the document."""
    place.run("init")
    file = place.folder / "c.toml"
    file.write_text(file.read_text().replace("amount > 0", condition))
    told = place.run("run", "--once", code=ExitCode.PRECONDITION).stderr
    assert f"document {place.prefix}lines: " in told
    assert "resync" not in told


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ("source.dsn=host=127.0.0.1 port=1", 3, "Connection refused"),
        ("source.dsn=nonsense", 2, "--set: [source] dsn is not a libpq connection string"),
        ("sink.password_file=/no/such", 2, "password_file names /no/such: No such file"),
        ("sink.url=http://127.0.0.1:1", 4, "does not answer"),
        ("sink.url=ftp://x", 2, "http(s)://host:port"),
    ],
)
def test_B07_wrong_servers_are_one_clear_line(
    place: Place, change: str, code: int, message: str
) -> None:
    """Exit code and one error line for each way that a server can be wrong."""
    place.run("init")
    done = place.run("run", "--once", "-s", change, code=code)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert done.stdout == ""


def test_missing_things_are_exit_code_5(place: Place) -> None:
    """A database, a table, a key, rights that are missing: one line each."""
    file = place.folder / "c.toml"
    text = file.read_text()
    done = place.run("init", "-s", set_source(place, "dbname=missing"), code=5)
    assert "does not exist" in done.stderr
    file.write_text(text.replace("public.lines", "public.nothing"))
    assert "public.nothing" in place.run("init", code=5).stderr
    place.sql("create table public.keyless (amount int)")
    file.write_text(text.replace("public.lines", "public.keyless"))
    assert "key" in place.run("init", code=5).stderr
    file.write_text(text)
    place.run("init")
    role = f"{place.database.name}_nobody"
    place.sql(f'create role "{role}" login')
    done = place.run("run", "--once", "-s", set_source(place, f"user={role}"), code=5)
    assert "permission denied" in done.stderr
    place.sql(f'drop role "{role}"')


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until something holds, half a minute at most."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what} in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_B16_B17_a_signal_finishes_saves_and_ends_with_0(
    place: Place, number: signal.Signals
) -> None:
    """Status lines without data; after a signal: a message at once, progress saved, exit code 0."""
    place.run("init")
    log = place.folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen(place.command("run"), cwd=ROOT, stderr=file)
        try:
            wait_for(lambda: log.read_text().count(" sync: ") >= 2, "two status lines")
            process.send_signal(number)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()
            process.wait()
    assert f"{number.name}: finishing" in log.read_text()
    assert json.loads(place.run("status", "--json").stdout)["lag_transactions"] == 0


def test_B16_a_second_signal_ends_at_once(place: Place) -> None:
    """While a statement blocks, the first signal is answered and the second ends with 130."""
    place.run("init")
    blocker = place.database.connect()
    log = place.folder / "log"
    with log.open("w") as file, blocker.cursor() as cursor:
        cursor.execute("begin; lock table shop.orders in access exclusive mode")
        process = subprocess.Popen(place.command("run"), cwd=ROOT, stderr=file)
        try:
            waits = (
                "select 1 from pg_locks l join pg_stat_activity a using (pid)"
                " where not l.granted and a.datname = current_database()"
            )
            wait_for(lambda: bool(place.sql(waits)), "the lock")
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: "again to end at once" in log.read_text(), "the message")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=5) == ExitCode.SECOND_INTERRUPT
        finally:
            process.kill()
            process.wait()
            blocker.close()


def test_W12_the_embedding_example_runs(place: Place) -> None:
    """The program in docs/embedding.md syncs a table inside this process."""
    page = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    place.sql("create table public.items (id int primary key); insert into public.items values (3)")
    file = place.folder / "c.toml"
    file.write_text(file.read_text().replace("public.lines", "public.items").replace("where", "#"))
    place.run("init")
    names = {"dsn": place.database.dsn, "url": place.url, "index": f"{place.prefix}items"}
    exec(compile(code, "docs/embedding.md", "exec"), names)
    assert names["status"].phase == "sync"  # type: ignore[attr-defined]
    assert place.documents("items") == {"3": {"id": 3}}


def test_sync_py_keeps_killing_itself_and_catches_up(place: Place) -> None:
    """Started again and again it gets there; it dies by SIGKILL, told by the seed."""
    place.run("init")
    environment = {
        **os.environ, "POSTGRES_CONFIG": place.database.dsn, "ELASTICSEARCH_URL": place.url,
        "SYNC_INDEX_PREFIX": f"{place.prefix}demo-", "SYNC_TABLES": "lines",
    }  # fmt: skip
    command = [sys.executable, str(ROOT / "sync.py")]
    died = subprocess.run(
        [*command, "--crash-after-seconds", "0.5", "--seed", "1"],
        env=environment, check=False, timeout=30, capture_output=True,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL
    subprocess.run([*command, "--once", "--no-crash"], env=environment, check=True, timeout=30)
    assert len(place.documents("demo-lines")) == 3


def test_a_discontinuity_may_stop_the_run(place: Place) -> None:
    """[pipeline] on_discontinuity = stop: exit code 5 and why, until `resync` is run."""
    stop = ["--set", "pipeline.on_discontinuity=stop"]
    place.run("init")
    place.run("run", "--once", *stop)
    place.sql("alter table shop.orders add column extra int default 7")
    for _ in range(2):
        done = place.run("run", "--once", *stop, code=ExitCode.PRECONDITION)
        assert "txid-sync resync" in done.stderr
    assert all("extra" not in document for document in place.documents("orders").values())
    place.run("resync", f"{place.prefix}orders", *stop)
    place.run("run", "--once", *stop)
    assert all(document["extra"] == 7 for document in place.documents("orders").values())
