"""The command line as a process: dying at every failpoint, and how much memory it takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from typing import Any

import pytest

from tests.integration.cli_place import ROOT, Place, place
from txid_sync.failpoints import INIT_NAMES, NAMES, RESYNC_NAMES, UNINSTALL_NAMES

__all__ = ["place"]

MAX_MEGABYTES = 90  # it takes about 60; `make bench-memory` has a million rows
ROWS = 300_000
SMALL = ["-s", "pipeline.page_documents=2", "-s", "pipeline.save_interval_seconds=0.0"]
LEAN = {
    "dynamic": False,
    "properties": {"id": {"type": "long"}},
}


def expected(place: Place, statement: str) -> dict[str, Any]:
    """Rows as documents, by id."""
    return dict(place.sql(statement))


def environment(**more: str) -> dict[str, str]:
    """The environment of a process."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TXID_SYNC")}
    return {**kept, **more}


def assert_equal(place: Place) -> None:
    """Both indices hold what their tables hold."""
    rows = "select id::text, row_to_json(o) from shop.orders o"
    assert place.documents("orders") == expected(place, rows)
    lines = "select order_id || ',' || replace(line, ',', '\\,'), row_to_json(l) from lines l"
    assert place.documents("lines") == expected(place, lines + " where amount > 0")


def dies(place: Place, name: str, count: int, *arguments: str) -> bool:
    """Run a command that is killed at a pass of a failpoint; False if it came to its end."""
    died = subprocess.run(
        place.command(*arguments), cwd=ROOT, check=False, capture_output=True,
        env=environment(TXID_SYNC_FAILPOINT=f"{name}:{count}"), timeout=60,
    )  # fmt: skip
    assert died.returncode in (0, -signal.SIGKILL), died.stderr.decode()
    return died.returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", [*NAMES, *RESYNC_NAMES])
def test_A17_a_process_killed_at_a_failpoint_loses_nothing(
    place: Place, elasticsearch_server: Any, name: str
) -> None:
    """SIGKILL in the load, twice, and in stream, resync and sweep, twice; both end equal."""
    run = ["run", "--once", *SMALL]
    rare = name in ("window-closed", *RESYNC_NAMES)
    often = 1 if rare or name in ("progress-loaded", "index-prepared") else 3
    place.run("init")
    place.sql("insert into shop.orders select i, 'x' from generate_series(10, 19) i")
    deaths = [dies(place, name, often, *run), dies(place, name, 1, *run)]
    place.run(*run)
    assert_equal(place)
    place.sql(
        "update shop.orders set note = 'y' where id <= 3; delete from lines where order_id = 1"
    )
    deaths.append(dies(place, name, 1, *run))
    place.sql("truncate shop.orders; insert into shop.orders values (3, 'z'), (30, 'z')")
    place.sql("insert into lines select 9, 'l' || i, 1 from generate_series(1, 9) i")
    elasticsearch_server.delete_indices(f"{place.prefix}lines")
    deaths += [dies(place, name, often, *run), dies(place, name, 1, *run)]
    place.run(*run)
    assert_equal(place)
    assert sum(deaths) >= (1 if name == "resync-stored" else 2)
    assert rare or all(deaths), deaths


@pytest.mark.parametrize("name", INIT_NAMES)
def test_A17_init_killed_at_a_failpoint_is_repeated(place: Place, name: str) -> None:
    """SIGKILL of init, twice; writers go on, and after the third init everything arrives."""
    place.sql("create role killed_init_reader")
    try:
        arguments = ["init", "--reader", "killed_init_reader"]
        for count in (1, 2 if name == "table-tracked" else 1):
            assert dies(place, name, count, *arguments)
            place.sql("update shop.orders set note = note || '!'; delete from lines where amount=3")
        place.run(*arguments)
        place.run("run", "--once")
        place.sql("update shop.orders set note = 'captured'")
        place.run("run", "--once")
        assert_equal(place)
    finally:
        place.run("uninstall", "--yes")
        place.sql("drop owned by killed_init_reader; drop role killed_init_reader")


@pytest.mark.parametrize("name", UNINSTALL_NAMES)
def test_A17_uninstall_killed_at_a_failpoint_is_repeated(place: Place, name: str) -> None:
    """SIGKILL of uninstall; repeated it ends what was begun, and a new life starts equal."""
    place.run("init")
    place.run("run", "--once")
    assert dies(place, name, 1, "uninstall", "--yes")
    place.sql("delete from shop.orders where id = 2; insert into lines values (7, 'm', 7)")
    place.run("uninstall", "--yes")
    assert place.sql("select to_regnamespace('txid_sync')::text") == [(None,)]
    place.run("init")
    place.run("run", "--once", "--allow-deletes")
    assert_equal(place)


def written(place: Place) -> int:
    """How many documents both indices were ever sent."""
    path = f"{place.url}/{place.prefix}orders,{place.prefix}lines/_stats/indexing"
    with urllib.request.urlopen(path) as answer:
        figures = json.load(answer)["_all"]["primaries"]["indexing"]
    return int(figures["index_total"]) + int(figures["delete_total"])


@pytest.mark.parametrize("name", ["acknowledged", "progress-saved"])
def test_H05_what_was_acknowledged_and_saved_is_not_sent_again(place: Place, name: str) -> None:
    """After kill -9 in a load and in a stream exactly what was not saved is sent, and no more."""
    run = ["run", "--once", "-s", "pipeline.page_documents=10", "-s", "pipeline.in_flight=1",
           "-s", "pipeline.save_interval_seconds=0.0", "-s", "pipeline.skim_entries=0"]  # fmt: skip
    place.run("init")
    place.sql("insert into shop.orders select i, 'x' from generate_series(6, 98) i")
    total = repeated = 0
    for change, documents in (("", 100), ("update shop.orders set note = 'y'", 98)):
        if change:
            place.sql(change)
        assert dies(place, name, 7, *run)
        saved = json.loads(place.run("status", "--json").stdout)["acknowledged_documents"]
        sent = written(place)
        assert total + 40 <= saved <= sent - repeated <= total + 80
        # One page is on its way, and the request of a dead process may not have left it.
        assert sent - repeated - saved in ((10,) if name == "acknowledged" else (0, 10))
        place.run(*run)
        total += documents
        assert written(place) - sent == total - saved
        repeated = written(place) - total
        assert_equal(place)


def test_a_log_pruned_below_the_cursor_is_no_discontinuity(place: Place) -> None:
    """The bound that status gives empties the log of what was read, and the stream goes on."""
    place.run("init")
    place.run("run", "--once")
    place.sql("update shop.orders set note = 'a'")
    place.run("run", "--once")
    bound = json.loads(place.run("status", "--json").stdout)["prune_below"]
    assert place.sql(f"select txid_sync.prune('shop.orders', {bound}, 1000)") == [(1,)]
    place.sql("update shop.orders set note = 'b' where id = 2")
    place.sql("delete from shop.orders where id = 3")
    assert "resync" not in place.run("run", "--once").stderr
    rows = "select id::text, row_to_json(o) from shop.orders o"
    assert place.documents("orders") == expected(place, rows)


# A process counts the size of whatever made it, so one that is small stands in between.
MEASURE = (
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode;"
    " print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
)


def peak_megabytes(command: list[str], timeout_seconds: float = 400) -> float:
    """Run a process to its end, gives its greatest resident size."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE, *command],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
        timeout=timeout_seconds,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return float(done.stdout.split()[-1]) / 1024


def test_memory_stays_bounded(
    place: Place, elasticsearch_server: Any, record_property: Any, capsys: Any
) -> None:
    """Neither a load nor one transaction of half its rows is held in memory."""
    for name in ("orders", "lines"):
        path = f"/{place.prefix}{name}"
        elasticsearch_server.request("PUT", path, {"mappings": LEAN})
    place.sql("truncate shop.orders")
    place.sql(
        "insert into shop.orders"
        f" select i, repeat('x', 100) from generate_series(1, {ROWS}) i"
    )
    place.run("init")
    figures = {}
    for what in (f"load of {ROWS:,} rows", f"one transaction of {ROWS // 2:,} rows"):
        begun = time.monotonic()
        figures[what] = peak_megabytes(place.command("run", "--once"))
        seconds = time.monotonic() - begun
        with capsys.disabled():
            print(f"\n  {what}: {figures[what]:.0f} MB, {seconds:.0f} s", end="")
        record_property(what, figures[what])
        elasticsearch_server.request("POST", f"/{place.prefix}orders/_refresh")
        count = elasticsearch_server.request("GET", f"/{place.prefix}orders/_count")["count"]
        assert count == ROWS
        place.sql("update shop.orders set note = 'y' where id % 2 = 0")
    query = {"query": {"bool": {"filter": {"term": {"id": ROWS // 2}}}}}
    path = f"/{place.prefix}orders/_search"
    (hit,) = elasticsearch_server.request("POST", path, query)["hits"]["hits"]
    assert hit["_source"]["note"] == "y"
    assert max(figures.values()) < MAX_MEGABYTES
