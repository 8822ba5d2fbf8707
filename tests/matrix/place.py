"""A database and indices of one test's own on the pair of servers that a run was started for."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import Database
from txid_sync import config, schema
from txid_sync.dev.search_server import LOCAL, SearchServer
from txid_sync.wiring import Assembly, assemble

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("items", "lines")
TABLES = """
create table public.items (
    id bigint primary key, name text, price numeric, data jsonb, tags text[],
    at timestamptz, day date, flag boolean, raw bytea, spare json
);
create table public.lines (a text collate "C", b int, v text, primary key (a, b));
"""
ITEMS = """
insert into public.items
select g, 'nåme "' || g || E'\\t\\\\', g * 1.50, jsonb_build_object('n', g / 4.0, 'q', E'\\n'),
    array['a', null, g::text], timestamptz '2026-01-01 UTC' + g * interval '1 ms',
    date '2026-01-01' + g % 100, g % 2 = 0, decode(md5(g::text), 'hex'), E'[1,\\n 2.50]'
from generate_series({first}, {last}) g;
"""
LINES = """
insert into public.lines
select chr(97 + g % 5) || ',', g, 'v' from generate_series({first}, {last}) g
"""
TOML = """
[pipeline]
name = "{prefix}pair"
page_documents = 50
save_interval_seconds = 0.0
[source]
dsn = "{dsn}"
[sink]
url = "{url}"
progress_index = "{prefix}progress"
dead_letter_index = "{prefix}dead"
[[document]]
table = "public.items"
index = "{prefix}items"
[[document]]
table = "public.lines"
index = "{prefix}lines"
"""


class Place:
    """Two tracked tables, and a configuration that syncs them."""

    def __init__(
        self, database: Database, engine: SearchServer, prefix: str, folder: Path
    ) -> None:
        self.database, self.engine, self.prefix = database, engine, prefix
        self.file = folder / "txid-sync.toml"
        self.file.write_text(TOML.format(dsn=database.dsn, url=engine.url, prefix=prefix))
        self._admin = database.connect()
        self.sql(TABLES)
        schema.install(self._admin)
        for name in DOCUMENTS:
            schema.track(self._admin, f"public.{name}")

    def sql(self, statements: str) -> list[tuple[Any, ...]]:
        """Run statements, each its own transaction unless they say otherwise; the last rows."""
        with self._admin.cursor() as cursor:
            cursor.execute(statements)
            return list(cursor.fetchall()) if cursor.description else []

    def add(self, first: int, last: int) -> None:
        """Insert so many rows into both tables."""
        self.sql(ITEMS.format(first=first, last=last))
        self.sql(LINES.format(first=first, last=last))

    @contextmanager
    def assembly(self) -> Iterator[Assembly]:
        """A pipeline as a new process makes it, not started."""
        with assemble(config.read(str(self.file), {})) as assembly:
            yield assembly

    def sync(self) -> None:
        """What `txid-sync run --once` does."""
        with self.assembly() as assembly:
            assembly.daemon(threading.Event()).run(once=True)

    @contextmanager
    def syncer(self) -> Iterator[subprocess.Popen[bytes]]:
        """`txid-sync run` as a process; killed at the end, if it is still there."""
        command = [sys.executable, "-m", "txid_sync", "run", "-c", str(self.file)]
        with (self.file.parent / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def hits(self, name: str) -> dict[str, tuple[int, Any]]:
        """(version, document) by id, of up to 10,000, none if there is no index.

        Numbers are left as the texts that they are.
        """
        index = f"{self.engine.url}/{self.prefix}{name}"
        refresh = urllib.request.Request(f"{index}/_refresh", method="POST")
        try:
            LOCAL.open(refresh, timeout=60).close()
            with LOCAL.open(f"{index}/_search?size=10000&version=true", timeout=60) as answer:
                found = json.load(answer, parse_float=str, parse_int=str)["hits"]["hits"]
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return {}
        return {hit["_id"]: (int(hit["_version"]), hit["_source"]) for hit in found}

    def held(self, name: str) -> dict[str, Any]:
        """The documents of an index by id."""
        return {id: document for id, (_, document) in self.hits(name).items()}

    def wanted(self, name: str) -> dict[str, Any]:
        """The rows of a table as documents by id."""
        key = "id::text" if name == "items" else r"replace(a, ',', '\,') || ',' || b"
        rows = self.sql(f"select {key}, row_to_json(t)::text from public.{name} t")
        return {id: json.loads(text, parse_float=str, parse_int=str) for id, text in rows}

    def assert_equal(self) -> bool:
        """Tables and indices hold the same; true, so that it can be waited for."""
        for name in DOCUMENTS:
            assert self.held(name) == self.wanted(name)
        return True

    def dead_letters(self) -> list[tuple[str, str]]:
        """(id, reason) of all dead letters."""
        with self.assembly() as assembly:
            total, letters = assembly.sink.dead_letters()
        assert total == len(letters)
        return [(letter.id, letter.reason) for letter in letters]
