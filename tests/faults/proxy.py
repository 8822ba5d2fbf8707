"""A TCP proxy before a server that does to requests what networks and other proxies do to them.

It knows as much of a protocol as is needed to find the requests in the bytes: `HttpProxy` stands
before Elasticsearch, `PostgresProxy` before PostgreSQL.  A `Fault` is armed for the requests that
contain a text, or drawn for one request in so many by a seed; each that strikes is counted.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from txid_sync.dev.server import Closing

PASS = "pass"  # nothing happens to it; counts requests
CUT_REQUEST = "cut-request"  # `bytes` of the request are passed on, then the connection is cut
CUT_ANSWER = "cut-answer"  # served, and cut after `bytes` of the answer: 0 tells nothing
HALF_OPEN = "half-open"  # nothing passes any more, nothing is closed, for `seconds`
DELAY = "delay"  # passed on after `seconds`
REFUSE = "refuse"  # no connection is accepted
LISTEN_TRIES = 100


@dataclass(slots=True)
class Fault:
    """What to do to the requests that contain `match`, after `skip` of them, to so many `times`."""

    kind: str
    match: bytes = b""
    skip: int = 0
    times: int = 1
    bytes: int = 0
    seconds: float = 60.0
    struck: threading.Event = field(default_factory=threading.Event)


class Wire:
    """Both ends of one connection; closing closes both."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.answer_bytes: int | None = None  # so many are passed on before the cut
        self.silent = threading.Event()

    def close(self) -> None:
        """End both connections, and whoever waits for their bytes."""
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy(Closing):
    """Listens on `port` of this machine from construction until `close`."""

    def __init__(self, server_port: int, port: int = 0) -> None:
        self._server_port = server_port
        self._lock = threading.Lock()
        self._armed: list[Fault] = []
        self._menu: Sequence[Fault] = ()
        self._chance, self._random = 0.0, random.Random(0)
        self._wires: set[Wire] = set()
        self._closed = threading.Event()
        self._heal = threading.Event()
        self.counts: Counter[str] = Counter()
        self.holding = 0  # requests that are held half-open now
        self.port = port
        self._listener: socket.socket | None = None
        self.listen()

    # -- commands ---------------------------------------------------------------------------

    def arm(self, kind: str, match: bytes = b"", **how: float) -> Fault:
        """Let a fault strike the next requests that contain `match`; see Fault for the rest."""
        fault = Fault(kind, match, **how)  # type: ignore[arg-type]
        self.arm_all([fault])
        return fault

    def arm_all(self, faults: Sequence[Fault]) -> None:
        """Let these strike, one request each at a time, in this order."""
        with self._lock:
            self._armed += faults

    def draw(self, chance: float, seed: int, menu: Sequence[Fault]) -> None:
        """From now on let a fault of the menu strike a request with this chance."""
        with self._lock:
            self._chance, self._random, self._menu = chance, random.Random(seed), menu

    def heal(self) -> None:
        """No more faults; what is held back now is let go, connections under a fault are cut."""
        with self._lock:
            self._armed, self._chance = [], 0.0
        self._heal.set()
        self._heal = threading.Event()

    def refuse(self) -> None:
        """Accept no connection, and cut all there are."""
        self.counts[REFUSE] += 1
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def listen(self) -> None:
        """Accept connections (again)."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
            self.port = self._listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """End all connections that there are now."""
        with self._lock:
            wires = list(self._wires)
        for wire in wires:
            wire.close()

    def close(self) -> None:
        """End everything."""
        self._closed.set()
        self.heal()
        self.refuse()

    # -- connections ------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._server_port), timeout=10)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = Wire(client, server)
        with self._lock:
            self._wires.add(wire)
        try:
            with contextlib.suppress(OSError, EOFError, ValueError):
                self.serve(wire)
        finally:
            wire.close()
            with self._lock:
                self._wires.discard(wire)

    @abstractmethod
    def serve(self, wire: Wire) -> None:
        """Pass requests and answers until one side ends; raises OSError or EOFError."""

    def strike(self, wire: Wire, request: bytes) -> Fault | None:
        """The fault that this request meets; what is the same in all protocols is done here.

        Raises EOFError if the connection is to end now.
        """
        fault = self._choose(request)
        if fault is None:
            return None
        self.counts[fault.kind] += 1
        fault.struck.set()
        if fault.kind == CUT_REQUEST:
            wire.server.sendall(request[: fault.bytes])
            raise EOFError
        if fault.kind == HALF_OPEN:
            wire.silent.set()
            self.holding += 1
            self._heal.wait(fault.seconds)
            self.holding -= 1
            raise EOFError
        if fault.kind == DELAY:
            self._heal.wait(fault.seconds)
            return None
        return fault

    def _choose(self, request: bytes) -> Fault | None:
        with self._lock:
            for fault in self._armed:
                if fault.match not in request:
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                if fault.times <= 0:
                    self._armed.remove(fault)
                return fault
            if self._chance and self._random.random() < self._chance:
                fault = self._random.choice(self._menu)
                return fault if fault.match in request else None
        return None


class PostgresProxy(Proxy):
    """Before PostgreSQL: a request is one message of the client, so one statement."""

    def serve(self, wire: Wire) -> None:
        """Pass messages one way here, bytes the other way in a second thread."""
        threading.Thread(target=self._answers, args=(wire,), daemon=True).start()
        typed = False
        while True:
            head = exactly(wire.client, 5 if typed else 4)
            length = int.from_bytes(head[-4:], "big") - 4
            message = head + exactly(wire.client, length)
            # Until the version 3.0 comes, the client asks for encryption, in the same shape.
            typed = typed or message[4:8] == b"\x00\x03\x00\x00"
            fault = self.strike(wire, message)
            if fault is not None and fault.kind == CUT_ANSWER:
                wire.answer_bytes = int(fault.bytes)
            wire.server.sendall(message)

    def _answers(self, wire: Wire) -> None:
        with contextlib.suppress(OSError):
            while data := wire.server.recv(65536):
                if wire.silent.is_set():
                    return
                left = wire.answer_bytes
                if left is not None:
                    wire.client.sendall(data[:left])
                    wire.answer_bytes = left - len(data)
                    if wire.answer_bytes < 0:
                        break
                    continue
                wire.client.sendall(data)
        if not wire.silent.is_set():
            wire.close()


def exactly(end: socket.socket, count: int) -> bytes:
    """So many bytes; raises EOFError if they do not come."""
    data = b""
    while len(data) < count:
        part = end.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data
