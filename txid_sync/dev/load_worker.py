"""One connection of the load generator: a thread that comes back whatever happens to the server."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import psycopg2
from psycopg2.extensions import connection

from txid_sync.backoff import delay_seconds
from txid_sync.dev.load_tables import BLOCKS
from txid_sync.dev.load_transactions import GID_PREFIX, Plan, Transaction, finish

LOCK_CLASS = 0x10AD
LONGEST_PAUSE_SECONDS = 2.0
AWAY = "server away"

# Errors that such a load brings about; by SQLSTATE or the beginning of one.
EXPECTED = {
    "40P01": "deadlock",
    "40": "serialization",
    "23505": "unique",
    "23503": "foreign key",
    "23": "constraint",
    "22": "value refused",
    "55P03": "lock timeout",
    "57014": "cancelled",
    "53200": "out of memory or locks",
    "53300": AWAY,
    "53": "out of resources",
    "25006": AWAY,
    "57P": AWAY,
    "08": AWAY,
    "58": AWAY,
}


def kind_of(error: psycopg2.Error) -> str | None:
    """What to count an error as; None if this load must not meet it.

    >>> kind_of(psycopg2.errors.DeadlockDetected())         # made here, so without a code
    'server away'
    """
    code = error.pgcode
    if not code:
        away = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return AWAY if away or type(error) is psycopg2.DatabaseError else None
    return next((EXPECTED[code[:n]] for n in (5, 3, 2) if code[:n] in EXPECTED), None)


@dataclass(slots=True)
class Counts:
    """What was done so far."""

    transactions: int = 0
    rollbacks: int = 0
    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counts) -> None:
        """Count these too."""
        self.transactions += other.transactions
        self.rollbacks += other.rollbacks
        self.rows += other.rows
        self.errors.update(other.errors.copy())


def open_session(dsn: str, run: int) -> connection:
    """A connection in autocommit mode that shows that this run is alive."""
    session = psycopg2.connect(dsn)
    session.autocommit = True
    with session.cursor() as cursor:
        cursor.execute(BLOCKS["session"], {"class": LOCK_CLASS, "run": run})
    return session


class Worker(threading.Thread):
    """Runs the transactions of one connection until `stop` is set or `limit` is reached."""

    def __init__(
        self,
        dsn: str,
        plan: Plan,
        stop: threading.Event,
        *,
        seed: int,
        number: int,
        run: int,
        limit: int | None,
    ) -> None:
        super().__init__(name=f"load-{number}", daemon=True)
        self.counts = Counts()
        self.fatal: Exception | None = None
        self._dsn, self._plan, self._stop_all = dsn, plan, stop
        self._seed, self._number, self._run_number, self._limit = seed, number, run, limit
        self._session: connection | None = None
        self._unfinished: dict[str, bool] = {}

    def run(self) -> None:
        """The thread."""
        try:
            number = 0
            while not self._stop_all.is_set() and (self._limit is None or number < self._limit):
                session = self._connected()
                if session is not None:
                    self._attempt(session, number)
                    number += 1
        except Exception as error:  # noqa: BLE001  told by the main thread, which raises it
            self.fatal = error
            self._stop_all.set()
        finally:
            if self._session is not None:
                self._session.close()

    def cancel(self) -> None:
        """Interrupt the statement that runs now."""
        session = self._session
        with contextlib.suppress(psycopg2.Error):
            if session is not None:
                session.cancel()

    def _connected(self) -> connection | None:
        """The connection, made anew if need be; None if the run ends before."""
        attempt = 0
        while self._session is None and not self._stop_all.is_set():
            try:
                self._session = open_session(self._dsn, self._run_number)
                self._finish_prepared(self._session)
            except psycopg2.Error as error:
                self._failed(error)
                unit = Random(f"{self._seed}/{self._number}/{attempt}").random()
                pause_seconds = delay_seconds(attempt, unit, 0.1, LONGEST_PAUSE_SECONDS)
                self._stop_all.wait(max(0.02, pause_seconds))
                attempt += 1
        return self._session

    def _finish_prepared(self, session: connection) -> None:
        """End what was prepared when the connection was lost."""
        with session.cursor() as cursor:
            for gid in list(self._unfinished):
                finish(cursor, gid, commit=True)
                del self._unfinished[gid]

    def _attempt(self, session: connection, number: int) -> None:
        random = Random(f"{self._seed}/{self._number}/{number}")
        gid = f"{GID_PREFIX}{self._run_number}/{self._number}/{number}"
        with session.cursor() as cursor:
            transaction = Transaction(self._plan, cursor, random, gid)
            try:
                committed = transaction.play()
            except psycopg2.Error as error:
                if transaction.prepared:
                    self._unfinished[gid] = True
                self._failed(error)
                self._clear()
                return
        self.counts.transactions += committed
        self.counts.rollbacks += not committed
        self.counts.rows += transaction.writer.rows if committed else 0

    def _failed(self, error: psycopg2.Error) -> None:
        """Count it, and give up the connection or the transaction; raises what is not expected."""
        kind = kind_of(error)
        if kind is None:
            raise error
        self.counts.errors[kind] += 1
        if self._session is not None and (kind == AWAY or self._session.closed):
            self._session.close()
            self._session = None

    def _clear(self) -> None:
        """Roll back what is open and end what is prepared, if the connection still works."""
        if self._session is None:
            return
        try:
            with self._session.cursor() as cursor:
                cursor.execute("rollback")
            self._finish_prepared(self._session)
        except psycopg2.Error as error:
            self._failed(error)
