"""The status server of a real run: what it tells, where it listens, what it stands."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_place import ROOT, Place, place
from tests.support import eventually
from txid_sync.errors import ExitCode, UsageError
from txid_sync.pipeline_status import Report
from txid_sync.status_server import CONNECTIONS, REQUEST_SECONDS, serving

pytestmark = pytest.mark.integration

__all__ = ["place"]


@dataclass(frozen=True, slots=True)
class Run:
    """A running process and the base of its addresses."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def port(self) -> int:
        """The port that the log tells."""
        return int(self.url.rpartition(":")[2])

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Status code and body."""
        request = urllib.request.Request(self.url + path, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def status(self) -> dict[str, Any]:
        """What /status says."""
        code, body = self.ask("/status")
        assert code == 200
        found: dict[str, Any] = json.loads(body)
        return found


@contextmanager
def running(place: Place, *arguments: str) -> Iterator[Run]:
    """A run that listens on a free port, unless told otherwise."""
    log = place.folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            place.command("run", *(arguments or ("--listen", "0"))), cwd=ROOT, stderr=file
        )
        try:
            said = eventually(
                lambda: re.search(r"status on (http://\S+)/status", log.read_text()), 60
            )
            assert said is not None
            yield Run(process, said[1], log)
        finally:
            process.kill()
            process.wait()


def listening(pid: int) -> set[tuple[str, int]]:
    """The addresses of a process's listening TCP sockets, as the kernel has them."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if (target := str(link.readlink())).startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                host, port = fields[1].split(":")
                found.add((host, int(port, 16)))
    return found


def test_the_figures_are_those_of_status(place: Place) -> None:
    """A real run: JSON and metrics agree with `txid-sync status`, which asks the servers."""
    place.run("init")
    with running(place) as run:
        eventually(lambda: run.ask("/healthz") == (200, "ok\n"), 60)
        wanted = {"phase": "sync", "lag_transactions": 0, "acknowledged_documents": 7}
        eventually(lambda: wanted.items() <= run.status().items(), 60)
        place.sql("insert into shop.orders values (6, 'new')")
        wanted["acknowledged_documents"] = 8
        eventually(lambda: wanted.items() <= run.status().items(), 60)
        shown = run.status()
        assert len(place.documents("orders")) == 6
        names = ("pipeline", "epoch", "acknowledged_documents", "dead_letters")
        saved = {name: shown[name] for name in names}
        eventually(
            lambda: saved.items() <= json.loads(place.run("status", "--json").stdout).items(), 60
        )
        assert (shown["healthy"], shown["tasks"], shown["last_error"]) == (True, [], None)
        text = run.ask("/metrics")[1]
        of = f'{{pipeline="{place.prefix}cli"}}'
        for line in ("acknowledged_documents_total{} 8", "healthy{} 1", "lag_transactions{} 0"):
            assert f"txid_sync_{line.replace('{}', of)}\n" in text
        run.process.send_signal(signal.SIGTERM)
        assert run.process.wait(timeout=60) == 0
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", run.port))
    said = run.log.read_text()
    assert "GET" not in said
    assert "/healthz" not in said


@pytest.mark.parametrize(
    ("listen", "address"),
    [("0", "0100007F"), (":0", "0100007F"), ("127.0.0.1:0", "0100007F"), ("0.0.0.0:0", "00000000")],
)
def test_it_listens_on_loopback_unless_told_otherwise(
    place: Place, listen: str, address: str
) -> None:
    """The kernel's table has one listening socket of the process, on that address alone."""
    place.run("init")
    with running(place, "-s", f"status.listen={listen}") as run:
        assert listening(run.process.pid) == {(address, run.port)}


def test_it_is_off_unless_asked_for(place: Place) -> None:
    """A plain run, and one that ends by itself, have no listening socket and say nothing of one."""
    place.run("init")
    assert "status on" not in place.run("run", "--once", "-s", "status.listen=0").stderr
    log = place.folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen(place.command("run"), cwd=ROOT, stderr=file)
        try:
            eventually(lambda: " sync: " in log.read_text(), 60)
            assert listening(process.pid) == set()
        finally:
            process.kill()
            process.wait()


def test_an_address_that_cannot_be_had_ends_the_run(place: Place) -> None:
    """A port in use, no address of this machine, and no address at all: one line, exit code 2."""
    place.run("init")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for listen, message in (
            (f"{port}", f"cannot listen on {port}: Address already in use"),
            ("203.0.113.7:0", "cannot listen on 203.0.113.7:0: Cannot assign"),
            ("nonsense", "'nonsense' is no address to listen on"),
            ("no such host:1", "is no address to listen on"),
        ):
            said = place.run("run", "--listen", listen, code=ExitCode.USAGE).stderr.splitlines()
            assert [message in line for line in said if line.startswith("error: ")] == [True], said
    told = place.run("run", "-s", "status.listen=h:", code=ExitCode.USAGE).stderr
    assert "--set: [status] listen is 'h:', which is no address" in told


def test_an_outage_is_503_and_tells_no_secret(place: Place) -> None:
    """While the sink is away /healthz says so, /status why; a password is in no answer."""
    place.run("init")
    file = place.folder / "c.toml"
    secret = "s3cret-of-the-status"
    away = place.url.replace("http://", f"http://u:{secret}@").rpartition(":")[0] + ":1"
    text = file.read_text().replace(place.url, away).replace("connect_attempts = 1", "")
    file.write_text(text.replace("user=postgres", f"user=postgres password={secret}"))
    assert file.read_text().count(secret) == 2
    with running(place) as run:
        found = eventually(lambda: [run.status()] if run.status()["last_error"] else [], 60)[0]
        assert "does not answer" in found["outage"]
        assert (found["healthy"], found["started"]) == (False, False)
        assert found["errors"]["sink"] > 0
        assert run.ask("/healthz") == (503, "unavailable\n")
        answers = json.dumps(found) + run.ask("/metrics")[1] + run.ask("/status")[1]
        assert secret not in answers
        assert "txid_sync_healthy" in answers
        assert secret not in run.log.read_text()


def test_a_load_shows_how_far_it_is(place: Place) -> None:
    """Killed in mid-load: `status` and the next run go on counting from what was stored."""
    place.sql("insert into shop.orders select i, 'more' from generate_series(6, 400) i")
    place.sql("analyze shop.orders")
    place.run("init")
    small = ("-s", "pipeline.page_documents=10", "-s", "pipeline.save_interval_seconds=0")
    environment = {**os.environ, "TXID_SYNC_FAILPOINT": "acknowledged:20"}
    died = subprocess.run(
        place.command("run", *small), cwd=ROOT, env=environment, check=False, timeout=120
    )
    assert died.returncode == -signal.SIGKILL
    state = json.loads(place.run("status", "--json").stdout)["documents"][0]
    assert (state["phase"], state["rows"]) == ("load", 400)
    assert 100 <= state["done"] <= 200
    assert f"load: {state['done']} of about 400 rows" in place.run("status").stdout
    done = place.run("run", "--once", *small, "-s", "pipeline.status_interval_seconds=0.1")
    counts = [int(n) for n in re.findall(r"orders \((\d+) of about 400 rows\)", done.stderr)]
    assert counts
    assert counts[0] >= state["done"]
    assert len(place.documents("orders")) == 400


def stop_soon(client: socket.socket) -> bytes:
    """All that comes until the other side ends the connection."""
    client.settimeout(60)
    got = b""
    try:
        while piece := client.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\x00\xff\x16\x03\x01garbage\r\n\r\n", b" 400 "),
        (b"GET\r\n\r\n", b" 400 "),
        (b"GET / HTTP/9.9\r\n\r\n", b" 505 "),
        (b"GET /status/../../etc/passwd HTTP/1.1\r\n\r\n", b" 404 "),
        (b"POST /status HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b" 405 "),
        (b"DELETE /healthz HTTP/1.1\r\n\r\n", b" 405 "),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", b" 414 "),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", b" 431 "),
        (b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b" 431 "),
        (b"HEAD /healthz HTTP/1.1\r\n\r\n", b" 503 "),
        (b"GET /healthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n", b" 503 "),
        (b"", b""),
    ],
)
def test_odd_requests_are_refused(
    sent: bytes, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """One short answer that repeats nothing of what was sent; the next request is answered."""
    caplog.set_level("DEBUG")
    with serving("0", lambda: Report("main")):
        port = int(re.findall(r":(\d+)/status", caplog.text)[-1])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(sent)
            with contextlib.suppress(OSError):  # it may have been reset already
                client.shutdown(socket.SHUT_WR)
            got = stop_soon(client)
        head, _, body = got.partition(b"\r\n\r\n")
        if got or not answer:  # a reset may overtake the answer to more than was read
            assert answer in head.partition(b"\r\n")[0]
        else:
            assert len(sent) > 65536
        assert got.count(b"HTTP/1.1 ") <= 1
        assert not any(part in got for part in (b"garbage", b"passwd", b"xxxx"))
        assert (body == b"") if sent.startswith(b"HEAD") else len(body) < 60
        with pytest.raises(urllib.error.HTTPError, match="503") as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30)
        caught.value.close()
    assert "garbage" not in caplog.text
    assert "passwd" not in caplog.text


def test_slow_clients_are_ended_and_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Clients that drip bytes hold a bounded number of threads, for a bounded time."""
    caplog.set_level("INFO")
    before, many = threading.active_count(), range(3 * CONNECTIONS)
    with serving("0", lambda: Report("main")):
        port = int(re.findall(r":(\d+)/status", caplog.text)[-1])
        begun = time.monotonic()  # before the first of them: connecting takes its time too
        with contextlib.ExitStack() as stack:
            connected = (socket.create_connection(("127.0.0.1", port)) for _ in many)
            clients = [stack.enter_context(client) for client in connected]
            most = 0
            while alive := [client for client in clients if drip(client)]:
                most = max(most, threading.active_count() - before - 1)
                assert time.monotonic() - begun < 60, len(alive)
                time.sleep(0.1)
            assert 0 < most <= CONNECTIONS
            assert time.monotonic() - begun >= REQUEST_SECONDS / 2
        with pytest.raises(urllib.error.HTTPError, match="503") as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30)
        caught.value.close()
    eventually(lambda: threading.active_count() == before, 30)


def drip(client: socket.socket) -> bool:
    """Send one byte more of a request that never ends; False if the other side has ended it."""
    try:
        client.send(b"G")
        client.setblocking(False)
        return client.recv(1000) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        client.setblocking(True)


def test_two_servers_never_share_a_port(caplog: pytest.LogCaptureFixture) -> None:
    """The second one is told that the port is in use."""
    caplog.set_level("INFO")
    with serving("0", lambda: Report("main")):
        port = re.findall(r":(\d+)/status", caplog.text)[-1]
        with pytest.raises(UsageError, match="in use"), serving(port, lambda: Report("main")):
            pass
