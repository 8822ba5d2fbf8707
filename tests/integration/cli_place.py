"""A database, indices and a configuration file of one test, and the command line on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOML = """
[pipeline]
name = "{prefix}cli"
status_interval_seconds = 0.2
[source]
dsn = "{dsn}"
connect_attempts = 1
[sink]
url = "{url}"
progress_index = "{prefix}progress"
dead_letter_index = "{prefix}dead"
[[document]]
table = "shop.orders"
index = "{prefix}orders"
[[document]]
table = "public.lines"
index = "{prefix}lines"
where = "amount > 0"
"""
TABLES = """
create schema shop;
create table shop.orders (id int primary key, note text);
create table public.lines (order_id int, line text, amount int, primary key (order_id, line));
insert into shop.orders select i, 'note ' || i from generate_series(1, 5) i;
insert into public.lines values (1, 'a,b', 1), (1, 'c', 0), (2, 'd', 3);
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A database with two tables, an index prefix of its own, and a configuration file."""

    database: Any
    url: str
    prefix: str
    folder: Path

    def command(self, *arguments: str) -> list[str]:
        """A command line with the configuration."""
        return [sys.executable, "-m", "txid_sync", *arguments, "-c", str(self.folder / "c.toml")]

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and check its exit code."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TXID_SYNC")}
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, cwd=ROOT,
            stdin=subprocess.DEVNULL,
            env=environment, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run statements as the owner; the rows of the last."""
        connection = self.database.connect()
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def documents(self, name: str) -> dict[str, Any]:
        """What an index holds, by id."""
        base = f"{self.url}/{self.prefix}{name}"
        urllib.request.urlopen(urllib.request.Request(f"{base}/_refresh", method="POST")).close()
        with urllib.request.urlopen(f"{base}/_search?size=1000") as answer:
            hits = json.load(answer)["hits"]["hits"]
        return {hit["_id"]: hit["_source"] for hit in hits}


@pytest.fixture
def place(
    database: Any,
    elasticsearch_url: str,
    index_prefix: str,
    tmp_path: Path,
) -> Place:
    """Tables, configuration, nothing installed."""
    found = Place(database, elasticsearch_url, index_prefix, tmp_path)
    text = TOML.format(dsn=database.dsn, url=elasticsearch_url, prefix=index_prefix)
    (tmp_path / "c.toml").write_text(text)
    found.sql(TABLES)
    return found


def set_source(place: Place, value: str) -> str:
    """The argument that changes the source."""
    return f"source.dsn={place.database.dsn} {value}"
