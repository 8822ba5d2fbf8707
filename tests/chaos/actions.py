"""What a chaos run does to syncers and servers; each action undoes itself before it returns.

`KINDS` are all there are, beside those for a standby; every run contains each of them.
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.chaos.probes import Probe
from tests.chaos.world import DATABASE, SYNCER, World
from tests.faults.http_proxy import OWN, SERVED
from tests.faults.proxy import CUT_ANSWER, CUT_REQUEST, DELAY, HALF_OPEN, Fault, Proxy
from tests.support import eventually

# The tables whose indices are wiped or spoilt; the others must never go back.
WIPED = ("codes", "notes", "measurements")
SPOILT = {"codes": "meaning", "notes": "tags", "measurements": "n"}
PATIENCE_SECONDS = 180.0
SPACING = 3  # requests between two faults of one action, so that things go well in between
BURST_THREADS = 12
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
BURST_BODY = b'{"index":{}}\n{"junk":1}\n' * 2000

# Bulk requests with documents; that of dead letters has no such parameter, and if their index
# refuses one for good, an operator has to act: exit code 5.
_BULK = b"&timeout="
_WIRE = (CUT_REQUEST, CUT_ANSWER, DELAY, HALF_OPEN)
HTTP_KINDS = (*_WIRE, *(k for k in SERVED if k != CUT_ANSWER), *OWN)
# In Elasticsearch's own words final for anything but a bulk request.
_FINAL = ("400", "413")


def http_menu(generator: random.Random) -> list[Fault]:
    """Faults for any request to Elasticsearch."""
    return [
        Fault(kind, _BULK if kind in _FINAL else b"", bytes=generator.randrange(1500),
              seconds=generator.uniform(0.2, 4.0))
        for kind in HTTP_KINDS
    ]  # fmt: skip


def postgres_menu(generator: random.Random) -> list[Fault]:
    """Faults for any statement."""
    return [
        Fault(kind, bytes=generator.choice((0, 3, 40, 2000)), seconds=generator.uniform(0.2, 4.0))
        for kind in _WIRE
    ]


class Actions:
    """Does what KINDS lists; `counts` says how often each was done."""

    def __init__(self, world: World, probe: Probe, seed: int) -> None:
        self._world, self._probe = world, probe
        self._random = random.Random(seed)
        self._spoilt: set[str] = set()
        self.counts: Counter[str] = Counter()

    @property
    def kinds(self) -> Mapping[str, Callable[[Actions], None]]:
        """Everything that can be done to this world."""
        return {**KINDS, **STANDBY_KINDS} if self._world.standby else KINDS

    def do(self, kind: str) -> None:
        """Do one action now."""
        self.kinds[kind](self)
        self.counts[kind] += 1

    def mend(self) -> None:
        """No fault remains: indices with a spoilt mapping are deleted, proxies pass all."""
        self._world.http_proxy.heal()
        self._world.postgres_proxy.heal()
        for table in sorted(self._spoilt):
            self._delete(table)
        self._spoilt.clear()

    # -- syncers ----------------------------------------------------------------------------

    def _one(self) -> Any:
        return self._random.choice(self._world.syncers)

    def _kill(self) -> None:
        self._one().kill9()

    def _term(self) -> None:
        syncer = self._one()
        # Before its handler is there, the signal ends Python as it does any program.
        eventually(lambda: catches(syncer.pid, signal.SIGTERM), PATIENCE_SECONDS)
        pid = syncer.pid
        if catches(pid, signal.SIGTERM):
            syncer.signal(signal.SIGTERM, pid)

    def _zombie(self) -> None:
        """Stopped for longer than its successor needs to save progress; then it wakes up."""
        syncer = self._one()
        syncer.signal(signal.SIGSTOP)
        time.sleep(self._random.uniform(1.0, 5.0))
        syncer.signal(signal.SIGCONT)
        # What it had in hand must arrive before an index forgets its deletes in the next action.
        time.sleep(1.0)

    # -- PostgreSQL -------------------------------------------------------------------------

    def _crash_postgres(self) -> None:
        self._world.postgres.stop("immediate")
        self._world.postgres.start()

    def _backends(self, function: str) -> None:
        ask = f"select {function}(pid) from pg_stat_activity where application_name = %s"
        session = self._world.polled.connect(DATABASE)
        with contextlib.closing(session), session.cursor() as cursor:
            for _ in range(20):
                cursor.execute(ask, (SYNCER,))
                time.sleep(0.02)

    def _crash_standby(self) -> None:
        """It comes back where it last wrote all of its pages, behind what it has shown."""
        self._world.polled.stop("immediate")
        self._world.polled.start()

    def _lag(self) -> None:
        """The standby replays nothing for a while."""
        session = self._world.polled.connect("postgres")
        with contextlib.closing(session), session.cursor() as cursor:
            cursor.execute("select pg_wal_replay_pause()")
            time.sleep(self._random.uniform(1.0, 5.0))
            cursor.execute("select pg_wal_replay_resume()")

    def _postgres_wire(self) -> None:
        self._strike(self._world.postgres_proxy, postgres_menu(self._random))

    # -- Elasticsearch ----------------------------------------------------------------------

    def _crash_search(self) -> None:
        self._world.search.kill9()
        self._probe.forget_versions()
        self._world.search.start()

    def _block(self, block: str) -> None:
        path = "/items,orders/_settings"
        self._world.search.request("PUT", path, {f"index.blocks.{block}": True})
        time.sleep(self._random.uniform(0.5, 2.0))
        self._world.search.request("PUT", path, {f"index.blocks.{block}": None})

    def _burst(self) -> None:
        """Bulk requests of somebody else, until the node refuses some."""
        refused = threading.Event()

        def send() -> None:
            url = f"{self._world.search.url}/junk/_bulk"
            head = {"Content-Type": "application/x-ndjson"}
            while not refused.is_set():
                ask = urllib.request.Request(url, BURST_BODY, head)
                with contextlib.suppress(OSError), LOCAL.open(ask) as answer:
                    if b'"status":429' in answer.read():
                        refused.set()

        threads = [threading.Thread(target=send) for _ in range(BURST_THREADS)]
        for thread in threads:
            thread.start()
        found = refused.wait(30)
        refused.set()
        for thread in threads:
            thread.join()
        self._world.search.delete_indices("junk")
        assert found, "the node refuses nothing"

    def _http_wire(self) -> None:
        menu = [replace(fault, match=_BULK) for fault in http_menu(self._random)]
        self._strike(self._world.http_proxy, menu)

    def _wipe(self) -> None:
        self._delete(self._random.choice(WIPED))

    def _recreate(self) -> None:
        self._replace(self._random.choice(WIPED), {"dynamic": False})

    def _spoil(self) -> None:
        """A field that takes no value of this table: its documents become dead letters."""
        table = self._random.choice(WIPED)
        field = {SPOILT[table]: {"type": "date"}}
        self._replace(table, {"dynamic": False, "properties": field})
        self._spoilt.add(table)

    def _delete(self, table: str) -> None:
        # What is on its way would find an index that has forgotten all deletes.
        self._world.http_proxy.heal()
        time.sleep(0.5)
        self._world.search.delete_indices(table)  # one that a delete has made, too
        self._spoilt.discard(table)

    def _replace(self, table: str, mapping: dict[str, Any]) -> None:
        """Delete an index, and be quicker than the syncers in making it again."""
        found: list[object] = []
        for number in range(100):
            self._delete(table)
            value = {"aliases": {table: {}}, "mappings": mapping}
            try:
                self._world.search.request("PUT", f"/{table}-by-hand-{number}", value)
            except urllib.error.HTTPError as error:
                if error.code != 400:
                    raise
                found.append(error.read())
                continue
            held = self._world.search.request("GET", f"/{table}/_alias")
            if len(held) == 1:
                return
            found.append(sorted(held))
        raise AssertionError(f"the syncers are always quicker with {table}: {found[-3:]}")

    # -- both -------------------------------------------------------------------------------

    def _refuse(self, proxy: Proxy) -> None:
        proxy.refuse()
        time.sleep(self._random.uniform(0.5, 2.0))
        proxy.listen()

    def _strike(self, proxy: Proxy, menu: list[Fault]) -> None:
        """Each fault of the menu strikes a request of the two syncers."""
        self._random.shuffle(menu)
        proxy.arm_all([replace(f, skip=SPACING * place) for place, f in enumerate(menu)])
        try:
            eventually(lambda: all(fault.struck.is_set() for fault in menu), PATIENCE_SECONDS)
        finally:
            proxy.heal()


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def written(said: str) -> dict[str, int]:
    """What the load generator says it has done."""
    lines = (line.split() for line in said.splitlines() if line and not line.startswith(" "))
    found = {words[0]: int(words[1]) for words in lines if len(words) == 2}
    return {name: found[name] for name in ("transactions", "rows", "rollbacks", "errors")}


KINDS: Mapping[str, Callable[[Actions], None]] = {
    "kill -9": Actions._kill,
    "stopped and continued": Actions._zombie,
    "SIGTERM": Actions._term,
    "PostgreSQL immediate stop": Actions._crash_postgres,
    "backends terminated": lambda actions: actions._backends("pg_terminate_backend"),
    "statements cancelled": lambda actions: actions._backends("pg_cancel_backend"),
    "Elasticsearch kill -9": Actions._crash_search,
    "index blocked (write)": lambda actions: actions._block("write"),
    "index blocked (disk)": lambda actions: actions._block("read_only_allow_delete"),
    "queue full (429)": Actions._burst,
    "index deleted": Actions._wipe,
    "index recreated empty": Actions._recreate,
    "mapping changed": Actions._spoil,
    "PostgreSQL refuses": lambda actions: actions._refuse(actions._world.postgres_proxy),
    "Elasticsearch refuses": lambda actions: actions._refuse(actions._world.http_proxy),
    "wire to PostgreSQL": Actions._postgres_wire,
    "wire to Elasticsearch": Actions._http_wire,
}

STANDBY_KINDS: Mapping[str, Callable[[Actions], None]] = {
    "standby immediate stop": Actions._crash_standby,
    "standby lags": Actions._lag,
}
