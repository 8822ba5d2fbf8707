"""A transaction pooler: every transaction of a client goes to some backend, as it happens."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator

from tests.faults.proxy import exactly

BACKENDS = 3


def _message(wire: socket.socket) -> bytes:
    """One message of the protocol: its type, its length, its body."""
    head = exactly(wire, 5)
    return head + exactly(wire, struct.unpack("!I", head[1:])[0] - 4)


def _until_ready(wire: socket.socket) -> bytes:
    """Everything up to ReadyForQuery."""
    answer = b""
    while True:
        message = _message(wire)
        answer += message
        if message[:1] == b"Z":
            return answer


class Pooler:
    """Listens on a port of its own and speaks the simple query protocol, without TLS.

    With `prepares` a statement that is prepared on one backend is prepared on all of them.
    """

    def __init__(self, port: int, prepares: bool) -> None:
        self._backend_port, self._prepares = port, prepares
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Drop every connection."""
        for wire in self._open:
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for wire in self._open:
            wire.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        choose = random.Random(1)
        with contextlib.suppress(OSError):
            length = exactly(client, 4)
            startup = length + exactly(client, struct.unpack("!I", length)[0] - 4)
            backends, hello = [], b""
            for _ in range(BACKENDS):
                backend = socket.create_connection(("127.0.0.1", self._backend_port))
                self._open.append(backend)
                backend.sendall(startup)
                hello = _until_ready(backend)
                backends.append(backend)
            client.sendall(hello)
            backend = backends[-1]
            while (message := _message(client))[:1] != b"X":
                prepared = self._prepares and message[5:12].lower() == b"prepare"
                for other in backends if prepared else ():
                    other.sendall(message)
                    answer = _until_ready(other)
                if not prepared:
                    backend.sendall(message)
                    answer = _until_ready(backend)
                client.sendall(answer)
                if answer[-1:] == b"I":
                    backend = choose.choice(backends)
        client.close()


@contextlib.contextmanager
def pooler(port: int, prepares: bool = False) -> Iterator[Pooler]:
    """A pooler in front of the server on this port."""
    made = Pooler(port, prepares)
    try:
        yield made
    finally:
        made.close()
