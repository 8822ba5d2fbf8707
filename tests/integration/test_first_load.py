"""How often an index is refreshed during its first load, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.integration.cli_place import ROOT, Place, place
from txid_sync.dev import SearchServer
from txid_sync.sinks.elasticsearch_loading import LOADING

pytestmark = pytest.mark.integration

__all__ = ["place"]

ROWS = 6000  # pages of 10, 100 and then 1000 documents
SETTING = "index.refresh_interval"


def interval(server: SearchServer, place: Place, name: str = "orders") -> str | None:
    """The refresh interval that the index has of its own."""
    found = server.request("GET", f"/{place.prefix}{name}/_settings?flat_settings=true")
    (index,) = found.values()
    value: str | None = index["settings"].get(SETTING)
    return value


def killed(place: Place, failpoint: str) -> None:
    """A run that dies in mid-load."""
    environment = {**os.environ, "TXID_SYNC_FAILPOINT": failpoint}
    died = subprocess.run(
        place.command("run", "--once", "-s", "pipeline.page_documents=1000"),
        cwd=ROOT, env=environment, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr


def filled(place: Place) -> None:
    """Rows for a long load of one table; the other one has two."""
    place.sql(f"insert into shop.orders select i, 'x' from generate_series(6, {ROWS}) i")
    place.run("init")


@contextmanager
def template(server: SearchServer, place: Place, value: str) -> Iterator[None]:
    """Indices of this test get this interval when they are made."""
    path = f"/_index_template/{place.prefix}t"
    body: dict[str, Any] = {
        "index_patterns": [f"{place.prefix}orders-*"], "priority": 900,
        "template": {"settings": {SETTING: value}},
    }  # fmt: skip
    server.request("PUT", path, body)
    try:
        yield
    finally:
        server.request("DELETE", path)


def test_a_new_index_is_refreshed_seldom_until_it_is_loaded(
    place: Place, elasticsearch_server: SearchServer
) -> None:
    """Whoever ends the load takes back what a killed process has set; small tables need nothing."""
    filled(place)
    killed(place, "acknowledged:5")
    assert interval(elasticsearch_server, place) == LOADING
    assert interval(elasticsearch_server, place, "lines") is None
    place.run("run", "--once")
    assert interval(elasticsearch_server, place) is None
    index = f"/{place.prefix}orders"
    elasticsearch_server.request("POST", f"{index}/_refresh")
    assert elasticsearch_server.request("GET", f"{index}/_count")["count"] == ROWS
    place.run("resync", f"{place.prefix}orders")
    killed(place, "acknowledged:5")
    assert interval(elasticsearch_server, place) is None, "this index was in use"


def test_a_resync_in_the_middle_takes_it_back_too(
    place: Place, elasticsearch_server: SearchServer
) -> None:
    """The first load never ends, for another one takes its place."""
    filled(place)
    killed(place, "acknowledged:5")
    assert interval(elasticsearch_server, place) == LOADING
    place.run("resync", f"{place.prefix}orders")
    place.run("run", "--once")
    assert interval(elasticsearch_server, place) is None


def test_what_was_left_behind_is_taken_back_at_the_next_start(
    place: Place, elasticsearch_server: SearchServer
) -> None:
    """By an instance that another one had overtaken: no load comes that could end."""
    place.run("init")
    place.run("run", "--once")
    path = f"/{place.prefix}orders/_settings"
    elasticsearch_server.request("PUT", path, {SETTING: LOADING})
    elasticsearch_server.request("PUT", f"/{place.prefix}lines/_settings", {SETTING: "62s"})
    place.run("run", "--once")
    assert interval(elasticsearch_server, place) is None
    assert interval(elasticsearch_server, place, "lines") == "62s"


def test_an_interval_of_others_stays(place: Place, elasticsearch_server: SearchServer) -> None:
    """That of a template is nobody's to change."""
    filled(place)
    with template(elasticsearch_server, place, "7s"):
        killed(place, "acknowledged:5")
        assert interval(elasticsearch_server, place) == "7s"
        place.run("run", "--once")
        assert interval(elasticsearch_server, place) == "7s"
