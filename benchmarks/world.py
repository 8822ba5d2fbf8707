"""Private servers for a run, and a database with tracked tables for each benchmark."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import connection

from benchmarks.usage import cpu_seconds, family_seconds, own_seconds
from txid_sync import schema
from txid_sync.dev.elasticsearch import ElasticsearchServer
from txid_sync.dev.postgres import PostgresServer

SETTINGS: Mapping[str, object] = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",  # no checkpoint in the middle of a round
    "checkpoint_timeout": "1h",
    "max_connections": 200,
    "max_prepared_transactions": 5100,
    "max_locks_per_transaction": 256,
}
SETTLED_SHARE, SETTLE_SECONDS, SETTLE_LIMIT_SECONDS = 0.1, 0.25, 8.0

LEAN = """
create table {} (
  id bigint primary key, customer int, status text, total numeric(12, 2), paid boolean,
  created timestamptz, updated timestamptz, note text, tags text[], details jsonb);
"""
FILL_LEAN = """
insert into {}
select g, g %% 5000, (array['new', 'paid', 'sent'])[1 + g %% 3], g * 1.25, g %% 2 = 0,
       timestamptz '2026-01-01' + g * interval '1 s', timestamptz '2026-02-01' + g * interval '1 s',
       repeat('words of a note ', 3), array['red', 'blue'], jsonb_build_object('a', g, 'b', 'x')
  from generate_series(%s::bigint, %s) g
"""
WIDE = """
create table {} (
  id bigint primary key, customer int, account bigint, status text, city text, title text,
  body text, total numeric(12, 2), weight double precision, paid boolean, created timestamptz,
  tags text[]);
"""
FILL_WIDE = """
insert into {}
select g, g %% 5000, g * 7, (array['new', 'paid', 'sent'])[1 + g %% 3], 'city ' || g %% 300,
       'order ' || g || ' of customer ' || g %% 5000,
       (select string_agg('word' || (g * n * 7919) %% 20000, ' ') from generate_series(1, 70) n),
       g * 1.25, g / 7.0, g %% 2 = 0, timestamptz '2026-01-01' + g * interval '1 s',
       array['red', 'blue', 'tag' || g %% 100]
  from generate_series(%s::bigint, %s) g
"""
KEPT = {"index": False, "doc_values": False}
LEAN_MAPPING: Mapping[str, Mapping[str, object]] = {
    "customer": {"type": "integer", **KEPT}, "total": {"type": "double", **KEPT},
    "paid": {"type": "boolean", **KEPT}, "created": {"type": "date", **KEPT},
    "updated": {"type": "date", **KEPT}, "note": {"type": "keyword", **KEPT},
    "tags": {"type": "keyword", **KEPT}, "details": {"type": "object", "enabled": False},
    "status": {"type": "keyword"},
}  # fmt: skip
# Changes rows id, id + stride, ... of a table of `size` rows, each in a transaction of its own.
SINGLES = """
create procedure singles(changed regclass, changes int, size int, stride int default 1)
language plpgsql as $$
declare
  statement text := format('update %s set paid = not paid where id = $1', changed);
begin
  for n in 0 .. changes - 1 loop
    execute statement using 1 + (n::bigint * stride) % size;
    commit;
  end loop;
end
$$
"""


@dataclass(frozen=True, slots=True)
class Database:
    """A database of one benchmark, with the schema txid_sync installed."""

    dsn: str
    admin: connection

    def run(self, statement: str, *values: object, table: str = "") -> None:
        """Run a statement, in which {} is the table."""
        text = sql.SQL(statement).format(sql.Identifier(table)) if table else statement
        with self.admin.cursor() as cursor:
            cursor.execute(text, values or None)

    def value(self, statement: str | sql.Composable, *values: object) -> Any:
        """The first value of a query."""
        with self.admin.cursor() as cursor:
            cursor.execute(statement, values or None)
            row = cursor.fetchone()
        assert row is not None
        return row[0]

    def lean(self, table: str, rows: int, track: bool = True) -> None:
        """A table of rows of about 300 bytes as a document, tracked unless asked otherwise."""
        self._make(table, LEAN, FILL_LEAN, rows, track)

    def wide(self, table: str, rows: int) -> None:
        """A table of 12 columns, about 1 KB as a document, tracked."""
        self._make(table, WIDE, FILL_WIDE, rows, True)

    def _make(self, table: str, create: str, fill: str, rows: int, track: bool) -> None:
        self.run(create, table=table)
        self.run(fill, 1, rows, table=table)
        self.run("vacuum (analyze, freeze) {}", table=table)
        if track:
            self.track(table)

    def track(self, table: str) -> None:
        """Capture a table's changes from now on."""
        schema.track(self.admin, table)

    def singles(self, table: str, changes: int, size: int, stride: int = 1) -> None:
        """Change rows, each in a transaction of its own, as fast as the server can."""
        with self.without_waiting():
            self.run("call singles(%s, %s, %s, %s)", table, changes, size, stride)

    def batches(self, statement: str, rows: int, batch: int) -> None:
        """Run a statement over the ids of each batch, in a transaction of its own."""
        with self.without_waiting():
            for first in range(1, rows + 1, batch):
                self.run(statement, first, min(rows, first + batch - 1))

    @contextmanager
    def without_waiting(self) -> Iterator[None]:
        """Commits of this session do not wait for the disk; in the end everything is on it."""
        self.run("set synchronous_commit = off")
        yield
        self.run("set synchronous_commit = on")
        self.run("checkpoint")


@dataclass(frozen=True, slots=True)
class World:
    """The servers of a run; only a patient one waits for them to settle."""

    postgres: PostgresServer
    search: ElasticsearchServer
    patient: bool = True

    @property
    def url(self) -> str:
        """Of Elasticsearch."""
        return self.search.url

    @property
    def meters(self) -> dict[str, Callable[[], float]]:
        """Seconds of processor by server; `python` is this process."""
        return {
            "postgres": partial(family_seconds, self.postgres.pid),
            "elasticsearch": partial(cpu_seconds, self.search.pid),
            "python": own_seconds,
        }

    @contextmanager
    def database(self, name: str) -> Iterator[Database]:
        """A database of that name; in the end it is dropped, with all indices."""
        dsn = self.postgres.createdb(name)
        try:
            with closing(self.postgres.connect(name)) as admin:
                schema.install(admin)
                database = Database(dsn, admin)
                database.run(SINGLES)
                database.run("set lock_timeout = '60s'")
                yield database
        finally:
            self.postgres.dropdb(name)
            self.search.delete_indices("")

    def configure(self, **settings: object) -> None:
        """Change settings of PostgreSQL that need no restart; None: back to the default."""
        with closing(self.postgres.connect()) as admin, admin.cursor() as cursor:
            for name, value in settings.items():
                statement = "alter system reset {}" if value is None else "alter system set {} = %s"
                cursor.execute(
                    sql.SQL(statement).format(sql.Identifier(name)),
                    None if value is None else (value,),
                )
            cursor.execute("select pg_reload_conf()")
        time.sleep(0.2)

    def settle(self) -> None:
        """Wait until Elasticsearch has merged and collected what it was given."""
        limit = time.monotonic() + (SETTLE_LIMIT_SECONDS if self.patient else 0)
        while time.monotonic() < limit:
            before = cpu_seconds(self.search.pid)
            time.sleep(SETTLE_SECONDS)
            if cpu_seconds(self.search.pid) - before <= SETTLED_SHARE * SETTLE_SECONDS:
                return

    def versions(self) -> dict[str, str]:
        """Of the servers."""
        with closing(self.postgres.connect()) as admin:
            number = admin.info.parameter_status("server_version")
        return {"PostgreSQL": str(number), "Elasticsearch": self.search.version}

    def document(self, index: str, id: object) -> dict[str, Any] | None:
        """A document in real time, through a connection of the moment."""
        try:
            found = self.search.request("GET", f"/{index}/_doc/{id}")
        except OSError:
            return None
        source: dict[str, Any] = found["_source"]
        return source


@contextmanager
def servers(patient: bool = True) -> Iterator[World]:
    """Private servers for a run; without patience, for the tests, the node is a quick one."""
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer(settings=SETTINGS))
        node = ElasticsearchServer(heap_megabytes=1024, long_lived=patient)
        search = stack.enter_context(node)
        yield World(postgres, search, patient)


class Discard:
    """A file that counts what is written to it."""

    written_bytes = 0

    def write(self, data: bytes) -> None:
        """Count."""
        self.written_bytes += len(data)


def copy(database: Database, table: str) -> None:
    """The reference of reading: every row as JSON, over one connection."""
    statement = sql.SQL("copy (select row_to_json(t) from {} t) to stdout")
    with database.admin.cursor() as cursor:
        text = statement.format(sql.Identifier(table)).as_string(cursor)
        cursor.copy_expert(text, Discard())


def toml(tables: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> str:
    """A configuration file."""
    lines = []
    for name, values in tables.items():
        lines += [f"[{name}]", *(f"{key} = {_literal(v)}" for key, v in values.items())]
    for values in documents:
        lines += ["[[document]]", *(f"{key} = {_literal(v)}" for key, v in values.items())]
    return "\n".join([*lines, ""])


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_literal(v)}" for key, v in value.items()) + "}"
    return json.dumps(value)
