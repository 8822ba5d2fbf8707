"""The command line as a process: dying at every failpoint, and how much memory it takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.integration.cli_place import ROOT, Place, place
from txid_sync.failpoints import NAMES

__all__ = ["place"]

MAX_MEGABYTES = 150
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


@pytest.mark.parametrize("name", NAMES)
def test_A17_a_process_killed_at_a_failpoint_loses_nothing(place: Place, name: str) -> None:
    """SIGKILL at one of the first passes of a failpoint, four times; each next run ends equal."""
    place.run("init")
    small = ["-s", "pipeline.page_documents=2", "-s", "pipeline.save_interval_seconds=0.0"]
    deaths = 0
    for n, count in enumerate((4, 1, 1, 2)):
        place.sql(
            f"insert into shop.orders select i, 'x' from generate_series({n * 100 + 10}, "
            f"{n * 100 + 19}) i; update shop.orders set note = 'y{n}' where id <= 3; "
            f"delete from public.lines where order_id = {n + 1}"
        )
        died = subprocess.run(
            place.command("run", "--once", *small), cwd=ROOT, check=False, capture_output=True,
            env=environment(TXID_SYNC_FAILPOINT=f"{name}:{count}"), timeout=60,
        )  # fmt: skip
        deaths += died.returncode == -signal.SIGKILL
        assert died.returncode in (0, -signal.SIGKILL), died.stderr.decode()
        place.run("run", "--once", *small)
        rows = "select id::text, row_to_json(o) from shop.orders o"
        assert place.documents("orders") == expected(place, rows)
        lines = "select order_id || ',' || replace(line, ',', '\\,'), row_to_json(l) from lines l"
        assert place.documents("lines") == expected(place, lines + " where amount > 0")
    assert deaths >= 2


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


def peak_megabytes(command: list[str], timeout_seconds: float = 400) -> float:
    """Run a process to its end, gives its greatest resident size."""
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said.decode()[-2000:]
    return usage.ru_maxrss / 1024


def test_memory_stays_bounded(
    place: Place, elasticsearch_server: Any, record_property: Any, capsys: Any
) -> None:
    """Loading a million rows, then one transaction of 500,000, takes less than 150 MB."""
    for name in ("orders", "lines"):
        path = f"/{place.prefix}{name}"
        elasticsearch_server.request("PUT", path, {"mappings": LEAN})
    place.sql("truncate shop.orders")
    place.sql(
        "insert into shop.orders select i, repeat('x', 100) from generate_series(1, 1000000) i"
    )
    place.run("init")
    figures = {}
    for what in ("load of 1,000,000 rows", "one transaction of 500,000 rows"):
        begun = time.monotonic()
        figures[what] = peak_megabytes(place.command("run", "--once"))
        seconds = time.monotonic() - begun
        with capsys.disabled():
            print(f"\n  {what}: {figures[what]:.0f} MB, {seconds:.0f} s", end="")
        record_property(what, figures[what])
        elasticsearch_server.request("POST", f"/{place.prefix}orders/_refresh")
        count = elasticsearch_server.request("GET", f"/{place.prefix}orders/_count")["count"]
        assert count == 1_000_000
        place.sql("update shop.orders set note = 'y' where id % 2 = 0")
    query = {"query": {"bool": {"filter": {"term": {"id": 500_000}}}}}
    path = f"/{place.prefix}orders/_search"
    (hit,) = elasticsearch_server.request("POST", path, query)["hits"]["hits"]
    assert hit["_source"]["note"] == "y"
    assert max(figures.values()) < MAX_MEGABYTES
