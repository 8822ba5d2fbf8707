"""What is watched while a chaos run goes on: the lag, and that no document ever goes back."""

from __future__ import annotations

import threading
import time
from collections import deque
from urllib.error import HTTPError

import psycopg2

from tests.chaos.world import DATABASE, MARKS, World

WRITE_EVERY_SECONDS = 0.5
WATCHED = "items"  # never wiped, so the version of an id may only rise
SAMPLE = {
    "size": 100, "version": True, "_source": False,
    "query": {"function_score": {"random_score": {}}},
}  # fmt: skip


class Probe(threading.Thread):
    """Writes marks and looks for them in the index; samples versions.  Both servers may be away."""

    def __init__(self, world: World) -> None:
        super().__init__(daemon=True)
        self._world = world
        self._ended = threading.Event()
        self._written: deque[tuple[int, float]] = deque()
        self._versions: dict[str, int] = {}
        self._lock = threading.Lock()
        self.longest_lag_seconds = 0.0
        self.marks_seen = self.versions_seen = 0
        self.went_back: list[str] = []

    def run(self) -> None:
        """Until `end`."""
        n = 0
        while not self._ended.wait(WRITE_EVERY_SECONDS):
            n += 1
            self._write(n)
            self._look()
            self._sample()

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()
        self.join()

    def forget_versions(self) -> None:
        """A node that was killed may have shown what it had not made durable."""
        with self._lock:
            self._versions.clear()

    def _write(self, n: int) -> None:
        try:
            session = psycopg2.connect(self._world.postgres.dsn(DATABASE), connect_timeout=5)
            try:
                with session, session.cursor() as cursor:
                    cursor.execute(f"update {MARKS} set n = %s", (n,))
            finally:
                session.close()
        except psycopg2.Error:
            return
        self._written.append((n, time.monotonic()))

    def _look(self) -> None:
        """The lag is the age of the oldest mark that the index does not show."""
        try:
            answer = self._world.search.request("GET", f"/{MARKS}/_doc/1")
        except (OSError, ValueError):
            answer = {"found": False}
        seen = answer["_source"]["n"] if answer["found"] else -1
        while self._written and self._written[0][0] <= seen:
            self._written.popleft()
            self.marks_seen += 1
        if self._written:
            lag = time.monotonic() - self._written[0][1]
            self.longest_lag_seconds = max(self.longest_lag_seconds, lag)

    def _sample(self) -> None:
        with self._lock:
            try:
                answer = self._world.search.request("POST", f"/{WATCHED}/_search", SAMPLE)
            except (OSError, ValueError, HTTPError):
                return
            for hit in answer["hits"]["hits"]:
                id, version = hit["_id"], hit["_version"]
                before = self._versions.get(id, 0)
                self.versions_seen += 1
                if version < before:
                    self.went_back.append(f"{WATCHED}/{id} from {before} to {version}")
                self._versions[id] = version


