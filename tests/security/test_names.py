"""Names that break out of careless SQL, from init to uninstall through every command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_place import ROOT, Place
from tests.support import Database
from txid_sync import ids
from txid_sync.errors import ExitCode

pytestmark = pytest.mark.integration

INJECTION = "x\"; drop table canary; --'"
NAMES = [
    INJECTION,
    "%s %(id)s %% {0} {name}",
    "é 漢字 😀 \u202e",
    "SELECT",
    " leading and trailing ",
    "back\\slash $1 $$ E'\\n'",
    "line\nend\ttab",
    "a.b; c",
    "Ω" * 31 + "x",  # 63 bytes
]


def quoted(name: str) -> str:
    """A name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def toml(value: object) -> str:
    """A value as TOML takes it, which is JSON but for letters beyond the first plane."""
    return json.dumps(value, ensure_ascii=False)


class Named:
    """A database in which everything has the same strange name, and a configuration for it."""

    def __init__(self, database: Database, url: str, prefix: str, folder: Path, name: str) -> None:
        self.place = Place(database, url, prefix, folder)
        self.name, self.quoted = name, quoted(name)
        self.table = f"{self.quoted}.{self.quoted}"
        self.place.sql(f"create schema {self.quoted}; create table canary ()")
        self.place.sql(
            f"create table {self.table} ({self.quoted} text primary key, v int);"
            f" insert into {self.table} values ('1', 1), ('2', 2)"
        )
        text = {
            "source": {"dsn": database.dsn, "connect_attempts": 1},
            "sink": {"url": url, "progress_index": f"{prefix}p", "dead_letter_index": f"{prefix}d"},
        }
        lines = [
            f"[{section}]\n" + "\n".join(f"{k} = {toml(v)}" for k, v in values.items())
            for section, values in text.items()
        ]
        lines.append(f"[[document]]\ntable = {toml(self.table)}\nindex = '{prefix}t'")
        lines.append(f"where = {toml(self.quoted + ' is not null')}")
        columns = toml([name, "v"])
        lines.append(f"columns = {columns}")
        (folder / "c.toml").write_text("\n".join(lines), encoding="utf-8")

    def documents(self) -> dict[str, Any]:
        """The index, by id."""
        return self.place.documents("t")

    def rows(self) -> dict[str, Any]:
        """The table, in the shape of the index."""
        rows = self.place.sql(f"select {self.quoted}, v from {self.table}")
        return {ids.encode((key,)): {self.name: key, "v": v} for key, v in rows}


@pytest.mark.parametrize("name", NAMES)
def test_a_strange_name_everywhere(
    database: Database, elasticsearch_url: str, index_prefix: str, tmp_path: Path, name: str
) -> None:
    """Schema, table, column, key and role have it: all commands do their work."""
    named = Named(database, elasticsearch_url, index_prefix, tmp_path, name)
    place, role = named.place, quoted(f"{name[:20]} {database.name}")
    place.sql(f"create role {role}")
    try:
        place.run("init", "--reader", role.strip('"').replace('""', '"'))
        place.run("run", "--once")
        assert named.documents() == named.rows()
        place.sql(f"update {named.table} set v = 3; delete from {named.table} where v = 4")
        place.sql(f"insert into {named.table} values ({literal(name)}, 5)")
        place.run("run", "--once")
        assert named.documents() == named.rows()
        assert place.run("status", "--json").stdout
        checked = place.run("check", code=ExitCode.NOT_EQUAL)  # as a superuser
        assert checked.stdout.count("FAILED") == 1
        done = subprocess.run(
            [sys.executable, str(ROOT / "consistency-check.py"), "--config",
             str(tmp_path / "c.toml")],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        place.run("resync", f"{index_prefix}t")
        place.run("run", "--once")
        assert named.documents() == named.rows()
        place.run("uninstall", "--yes")
        assert place.sql("select count(*) from canary") == [(0,)]
    finally:
        place.sql(f"drop owned by {role}; drop role {role}")


def literal(text: str) -> str:
    """A text as SQL takes it."""
    return "'" + text.replace("'", "''") + "'"
