"""`txid-sync verify` and `explain` on real servers, as a user calls them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from typing import Any

import pytest

from tests.integration.cli_place import ROOT, Place, place
from tests.support import eventually
from txid_sync.errors import ExitCode

pytestmark = pytest.mark.integration

__all__ = ["place"]


def write(place: Place, index: str, id: str, value: object, version: int) -> None:
    """Write a document behind the pipeline's back; None deletes it."""
    path = f"{place.prefix}{index}/_doc/{id}?version={version}&version_type=external_gte"
    request = urllib.request.Request(
        f"{place.url}/{path}",
        method="DELETE" if value is None else "PUT",
        data=None if value is None else json.dumps(value).encode(),
        headers={"content-type": "application/json"},
    )
    urllib.request.urlopen(request).close()


def version_of(place: Place, index: str, id: str) -> int:
    """The version of a document."""
    with urllib.request.urlopen(f"{place.url}/{place.prefix}{index}/_doc/{id}") as answer:
        return int(json.load(answer)["_version"])


def found(place: Place, *arguments: str, code: int) -> dict[str, Any]:
    """The JSON of verify, its documents by the names of the test."""
    done = place.run("verify", "--json", "--settle", "2", *arguments, code=code)
    value = json.loads(done.stdout)
    value["documents"] = {
        d["document"].removeprefix(place.prefix): d for d in value["documents"]
    }
    return value


def kinds(value: dict[str, Any], name: str) -> tuple[int, ...]:
    """Missing, stale, ghosts, repaired of one document."""
    document = value["documents"][name]
    return tuple(document[kind] for kind in ("missing", "stale", "ghosts", "repaired"))


@pytest.fixture
def synced(place: Place) -> Place:
    """Installed, loaded, nothing running."""
    place.run("init")
    place.run("run", "--once")
    return place


def test_equal_sides_end_with_0(synced: Place) -> None:
    """Every document is compared, and `where` is heeded."""
    value = found(synced, code=ExitCode.OK)
    assert (value["equal"], value["unsettled"]) == (True, 0)
    assert [(d["rows"], d["documents"]) for d in value["documents"].values()] == [(5, 5), (2, 2)]
    assert "no difference" in synced.run("verify").stderr


def test_planted_differences_are_found_and_repaired(synced: Place) -> None:
    """Missing, stale under the same version, ghosts of low and very high version: all at once."""
    before = {id: version_of(synced, "orders", id) for id in "12345"}
    write(synced, "orders", "1", None, before["1"])
    write(synced, "orders", "2", {"id": 2, "note": "altered"}, before["2"])
    write(synced, "orders", "90", {"id": 90}, 1)
    write(synced, "orders", "91", {"id": 91}, 2**63 - 1)
    write(synced, "orders", "no-key", {"id": 0}, before["1"])
    write(synced, "orders", "3", {"id": 3, "note": "very high"}, 2**62)
    write(synced, "lines", "1,c", {"order_id": 1, "line": "c", "amount": 0}, before["1"])
    value = found(synced, code=ExitCode.NOT_EQUAL)
    assert value["equal"] is False
    assert kinds(value, "orders") == (1, 2, 3, 0)
    assert kinds(value, "lines") == (0, 0, 1, 0)
    assert value["documents"]["orders"]["first"]["missing"] == ["1"]
    assert sorted(value["documents"]["orders"]["first"]["ghosts"]) == ["90", "91", "no-key"]
    told = synced.run("verify", f"{synced.prefix}orders", code=ExitCode.NOT_EQUAL)
    assert "NOT EQUAL" in told.stdout
    assert "altered" not in told.stdout + told.stderr
    assert f"{synced.prefix}lines" not in told.stdout
    assert kinds(found(synced, "--repair", code=ExitCode.OK), "orders") == (1, 2, 3, 6)
    assert found(synced, code=ExitCode.OK)["equal"] is True
    assert synced.documents("orders")["2"] == {"id": 2, "note": "note 2"}
    assert synced.documents("orders")["3"] == {"id": 3, "note": "note 3"}
    assert set(synced.documents("orders")) == set("12345")
    assert set(synced.documents("lines")) == {"1,a\\,b", "2,d"}
    assert {id: version_of(synced, "orders", id) for id in "45"} == {
        id: before[id] for id in "45"
    }


def test_a_row_that_changed_unseen_is_found(synced: Place) -> None:
    """A change whose log row is gone, as if no trigger had seen it; the clock is no help."""
    synced.sql(
        "begin; update shop.orders set note = 'unseen' where id = 4;"
        " delete from txid_sync.log_1 where txid = txid_current(); commit"
    )
    synced.run("run", "--once")
    assert kinds(found(synced, code=ExitCode.NOT_EQUAL), "orders") == (0, 1, 0, 0)
    assert kinds(found(synced, "--repair", code=ExitCode.OK), "orders") == (0, 1, 0, 1)
    assert synced.documents("orders")["4"]["note"] == "unseen"


def test_what_the_pipeline_has_not_read_is_no_difference(synced: Place) -> None:
    """Nothing runs, and rows were written, deleted and moved: unsettled, exit code 0."""
    synced.sql(
        "update shop.orders set note = 'new' where id = 1; delete from shop.orders where id = 2;"
        "insert into shop.orders values (6, 'six'); update public.lines set amount = 5"
    )
    value = found(synced, code=ExitCode.OK)
    assert kinds(value, "orders") == kinds(value, "lines") == (0, 0, 0, 0)
    assert value["documents"]["orders"]["unsettled"] == 3
    assert value["unsettled"] == 6
    assert "not settled" in synced.run("verify", "--settle", "0").stdout
    synced.run("run", "--once")
    assert found(synced, code=ExitCode.OK)["unsettled"] == 0


def test_without_a_complete_load_it_says_so(place: Place) -> None:
    """Before the first run, and while a resync is due: one line, exit code 5."""
    place.run("init")
    told = place.run("verify", "--wait", "0.1", code=ExitCode.PRECONDITION).stderr
    assert "was not synced yet" in told
    place.run("run", "--once")
    place.run("resync", f"{place.prefix}orders")
    told = place.run("verify", "--wait", "0.1", code=ExitCode.PRECONDITION).stderr
    assert "the load of" in told
    place.sql("alter table shop.orders add column extra int default 7")
    place.run("run", "--once")
    place.sql("alter table shop.orders add column more int default 7")
    told = place.run("verify", "--wait", "0.1", code=ExitCode.PRECONDITION).stderr
    assert "changed (columns, triggers or partitions)" in told
    place.run("run", "--once")
    assert found(place, code=ExitCode.OK)["equal"] is True


def test_wrong_usage(synced: Place) -> None:
    """An unknown document, table or key; no sink."""
    assert "did you mean" in synced.run(
        "verify", f"{synced.prefix}order", code=ExitCode.USAGE
    ).stderr
    synced.run("explain", "shop.ordres", "1", code=ExitCode.USAGE)
    told = synced.run("explain", "public.lines", "1", code=ExitCode.USAGE).stderr
    assert "order_id, line" in told
    synced.run("explain", "shop.orders", "one", code=ExitCode.USAGE)
    synced.run("verify", "-s", "sink.type=discard", code=ExitCode.USAGE)


def explained(place: Place, *arguments: str, code: int = ExitCode.OK) -> dict[str, Any]:
    """The one explanation."""
    (value,) = json.loads(place.run("explain", "--json", *arguments, code=code).stdout)
    return dict(value)


def test_explain_follows_a_key(synced: Place) -> None:
    """Equal; changed and not read; read; altered; a ghost; a key that never was."""
    told = explained(synced, "shop.orders", "007", code=ExitCode.OK)
    assert (told["id"], told["row_exists"], told["document_exists"]) == ("7", False, False)
    told = explained(synced, "public.lines", "1", "a,b")
    assert (told["id"], told["equal"], told["entries"]) == ("1,a\\,b", True, [])
    assert told["next"] == "nothing: both sides agree"
    assert told["document_version"] <= told["source_version"]
    synced.sql("update shop.orders set note = 'secret' where id = 1")
    told = explained(synced, "shop.orders", "1", code=ExitCode.NOT_EQUAL)
    assert [entry["state"] for entry in told["entries"]] == ["to be read"]
    assert "has not written 1 transactions yet" in told["next"]
    synced.run("run", "--once")
    told = explained(synced, f"{synced.prefix}orders", "1")
    assert [entry["state"] for entry in told["entries"]] == ["done"]
    write(synced, "orders", "1", {"id": 1}, told["document_version"])
    told = explained(synced, "shop.orders", "1", code=ExitCode.NOT_EQUAL)
    assert "verify --repair" in told["next"]
    write(synced, "orders", "1", {"id": 1, "note": "secret"}, 2**62)
    assert "meets this version" in explained(synced, "shop.orders", "1")["next"]
    text = synced.run("explain", "shop.orders", "1").stdout
    assert "there is a row" in text
    assert "secret" not in text
    synced.run("resync")
    told = explained(synced, "shop.orders", "2")
    assert "load" in told["next"]


def test_explain_tells_a_dead_letter(synced: Place) -> None:
    """What the sink refuses is told with the reason, and that nothing will happen."""
    mapping = urllib.request.Request(
        f"{synced.url}/{synced.prefix}orders/_mapping", method="PUT",
        data=b'{"dynamic": "strict"}', headers={"content-type": "application/json"},
    )  # fmt: skip
    urllib.request.urlopen(mapping).close()
    synced.sql("alter table shop.orders add column extra int")
    synced.run("run", "--once", "--allow-deletes")
    told = explained(synced, "shop.orders", "1", code=ExitCode.NOT_EQUAL)
    assert told["dead_letter"]
    assert told["next"].startswith("nothing: it was refused")
    value = found(synced, code=ExitCode.OK)
    assert kinds(value, "orders") == (0, 0, 0, 0)
    assert value["documents"]["orders"]["dead"] == 5


def test_a_killed_verify_goes_on(synced: Place) -> None:
    """SIGKILL once some of it is noted; the next one goes on, and finds the same."""
    version = version_of(synced, "orders", "2")
    write(synced, "orders", "2", {"id": 2, "note": "altered"}, version)
    environment = {**os.environ, "TXID_SYNC_FAILPOINT": "verify-saved:1"}
    killed = subprocess.run(
        synced.command("verify"), cwd=ROOT, env=environment, capture_output=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    done = synced.run("verify", code=ExitCode.NOT_EQUAL)
    assert "going on with the verification that was broken off" in done.stderr
    assert "stale, other content than the row (1)" in done.stdout
    assert "going on" not in synced.run("verify", code=ExitCode.NOT_EQUAL).stderr


def test_run_verifies_and_repairs_beside_the_stream(synced: Place) -> None:
    """Without repair the divergence is told; with it everything is mended while the run goes on."""
    version = version_of(synced, "orders", "2")
    write(synced, "orders", "2", {"id": 2, "note": "altered"}, version)
    write(synced, "orders", "77", {"id": 77}, 1)
    log = synced.folder / "log"
    interval = ["-s", "pipeline.verify_interval_seconds=2"]

    def verified() -> dict[str, Any]:
        value = json.loads(synced.run("status", "--json").stdout)["verified"]
        return dict(value or {"divergence": -1, "repaired": -1})

    for repair, divergence, repaired in (("false", 2, 0), ("true", 0, 2)):
        arguments = ["run", *interval, "-s", f"pipeline.verify_repair={repair}"]
        with log.open("w") as file:
            process = subprocess.Popen(synced.command(*arguments), cwd=ROOT, stderr=file)
            try:
                eventually(lambda n=divergence: verified()["divergence"] == n, 120, 0.5)
                eventually(lambda n=divergence: f", {n} found to differ" in log.read_text(), 120)
                if repaired:
                    eventually(lambda: "77" not in synced.documents("orders"), 60)
                    assert "2 repaired" in log.read_text()
            finally:
                process.send_signal(signal.SIGTERM)
                code = process.wait(timeout=60)
        assert code == 0
        assert "altered" not in log.read_text()
        assert "Traceback" not in log.read_text()
    assert synced.documents("orders")["2"]["note"] == "note 2"
    told = synced.run("status").stdout
    assert "verified " in told
    synced.run("uninstall", "--yes")
