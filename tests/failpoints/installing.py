"""A database in which init and uninstall die, and what its catalog and its writers must show."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection, cursor

from tests.failpoints.effects import Death, Effects
from tests.support import Database
from txid_sync.cli import cli
from txid_sync.commands import init, uninstall
from txid_sync.progress.base import Progress, ProgressStore
from txid_sync.progress.memory import MemoryProgress

WRITER, READER = "failpoint_writer", "failpoint_reader"
TABLES = """
create table t (id int primary key, v text);
create table p (id int, at int, primary key (id, at)) partition by list (at);
create table p1 partition of p for values in (1);
create table p2 partition of p for values in (2);
grant select, insert, update, delete on t, p to failpoint_writer;
"""
ROLE = """
do $$ begin
  if not exists (select from pg_roles where rolname = '{0}') then create role {0} login; end if;
end $$
"""
CONFIG = """
[source]
dsn = "{dsn}"
[[document]]
table = "t"
[[document]]
table = "public.p"
"""
# Everything of ours, and everything about it that matters.
CATALOG = """
select 'function', p.oid::regprocedure::text, concat_ws(' ', p.prosrc, p.proowner::regrole,
       p.proacl, p.proconfig, p.prosecdef, p.provolatile)
  from pg_proc p where p.pronamespace = to_regnamespace('txid_sync')
union all
select 'relation', c.oid::regclass::text, concat_ws(' ', c.relkind, c.relowner::regrole, c.relacl,
       c.relpersistence, (select array_agg(a.attname || ' ' || a.atttypid::regtype || ' ' ||
       a.attnotnull order by a.attnum) from pg_attribute a where a.attrelid = c.oid))
  from pg_class c where c.relnamespace = to_regnamespace('txid_sync')
union all
select 'constraint', conname, pg_get_constraintdef(oid) from pg_constraint
 where connamespace = to_regnamespace('txid_sync')
union all
select 'trigger', tgrelid::regclass || ' ' || tgname, tgenabled::text || pg_get_triggerdef(oid)
  from pg_trigger where not tgisinternal
union all
select 'schema', nspname, concat_ws(' ', nspowner::regrole, nspacl) from pg_namespace
 where nspname = 'txid_sync'
union all
select 'default right', defaclrole::regrole::text, defaclacl::text from pg_default_acl
union all
select 'role', rolname, concat_ws(' ', rolcanlogin, rolsuper, rolcreaterole) from pg_roles
 where rolname = 'txid_sync_capture'
union all
select 'sequence', sequencename, concat_ws(' ', cache_size, increment_by, cycle)
  from pg_sequences where schemaname = 'txid_sync'
"""


class DyingConnection(connection):
    """A connection whose every statement and commit is an effect; a death closes it at once."""

    effects: Effects

    def effect(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Let it happen, or die."""
        try:
            return self.effects.happen(name, call, *arguments)
        except Death:
            super().close()
            raise

    def cursor(self, *arguments: Any, **named: Any) -> Any:
        """A cursor whose statements are effects."""
        return super().cursor(*arguments, cursor_factory=DyingCursor, **named)

    def commit(self) -> None:
        """An effect."""
        self.effect("commit", super().commit)


class DyingCursor(cursor):
    """Its statements are effects of the connection."""

    def execute(self, query: Any, variables: Any = None) -> None:
        """An effect."""
        opened = self.connection
        assert isinstance(opened, DyingConnection)
        opened.effect(str(query)[:40], super().execute, query, variables)


class Installation:
    """One database, and the real commands on it."""

    def __init__(self, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._database, self._monkeypatch = database, monkeypatch
        self._admin = database.connect()
        self._numbers = itertools.count(1)
        self.store = MemoryProgress()
        self._file = folder / "c.toml"
        self._file.write_text(CONFIG.format(dsn=database.dsn))
        for role in (WRITER, READER):
            self.sql(ROLE.format(role))
        self.sql(TABLES)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as the owner."""
        with self._admin.cursor() as found:
            found.execute(statement)
            return list(found.fetchall()) if found.description else []

    def init(self, effects: Effects) -> None:
        """`txid-sync init`; raises Death."""
        self._run(init, effects, "--reader", READER)

    def uninstall(self, effects: Effects) -> None:
        """`txid-sync uninstall`; raises Death."""
        self._run(uninstall, effects, "--yes")

    def _run(self, module: Any, effects: Effects, *arguments: str) -> None:
        opened = psycopg2.connect(self._database.dsn, connection_factory=DyingConnection)
        opened.effects, opened.autocommit = effects, True
        self._monkeypatch.setattr(module, "connect", lambda dsn: opened)
        if module is uninstall:
            store = Deleting(self.store, effects)
            self._monkeypatch.setattr(module, "make_store", lambda _: store)
        try:
            whole = [module.command.name, *arguments, "-c", str(self._file)]
            cli.main(whole, standalone_mode=False)
        finally:
            opened.close()

    def write(self) -> None:
        """Writers go on, whatever is there: none of their statements may fail."""
        number = next(self._numbers)
        self.sql(f"set role {WRITER}")
        for statement in (
            f"insert into t values ({number}, 'x')",
            f"update t set v = 'y', id = -{number} where id = {number}",
            f"insert into p values ({number}, 1), (-{number}, 2)",
            f"update p set at = 3 - at where id = {number}",
            f"delete from p where id = {number}",
        ):
            self.sql(statement)
        self.sql("reset role")
        self.sql("truncate t")

    def catalog(self) -> list[tuple[str, ...]]:
        """All that init makes, with the numbers of the tables' entries replaced by their names."""
        rows = self.sql(CATALOG)
        entries = []
        if self.sql("select to_regclass('txid_sync.tracked')")[0][0] is not None:
            entries = self.sql("select id, relation::text from txid_sync.tracked")
            columns = "relation::text, log, key::text, capture, pruned_txid"
            rows += [("tracked", *map(str, row)) for row in self.sql(
                f"select {columns} from txid_sync.tracked")]  # fmt: skip
            columns = "version::text, capture_role"
            rows += self.sql(f"select 'installed', {columns} from txid_sync.installed")
        found = []
        for row in rows:
            texts = [str(text) for text in row]
            for number, name in entries:
                pattern = rf"(capture_|txid_sync_|log_){number}(?!\d)"
                texts = [re.sub(pattern, rf"\g<1>{name}", text) for text in texts]
            found.append(tuple(texts))
        return sorted(found)

    def captured(self) -> dict[str, int]:
        """How many log rows one set of writes makes, by table."""
        logs = self.sql("select relation::text, log from txid_sync.tracked")
        count = "select count(*) from txid_sync.{}"
        before = {name: self.sql(count.format(log))[0][0] for name, log in logs}
        self.write()
        return {name: self.sql(count.format(log))[0][0] - before[name] for name, log in logs}

    def remove(self) -> None:
        """Back to the beginning."""
        self.uninstall(Effects())
        self.sql("truncate t, p")


class Deleting(ProgressStore):
    """A store whose delete is an effect."""

    def __init__(self, real: ProgressStore, effects: Effects) -> None:
        self._real, self._effects = real, effects

    def load(self, pipeline: str) -> Any:
        """As it is."""
        return self._real.load(pipeline)

    def save(self, pipeline: str, progress: Progress, fence: Any) -> Any:
        """As it is."""
        return self._real.save(pipeline, progress, fence)

    def delete(self, pipeline: str) -> None:
        """An effect."""
        self._effects.happen("delete progress", self._real.delete, pipeline)

    def note(self, pipeline: str, name: str, text: str) -> None:
        """As it is."""
        self._real.note(pipeline, name, text)

    def recall(self, pipeline: str, name: str) -> str:
        """As it is."""
        return self._real.recall(pipeline, name)
