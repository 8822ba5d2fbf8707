"""The comparison sees every kind of difference, and none where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import Database
from txid_sync import ids
from txid_sync.compare import Comparison, compare
from txid_sync.errors import PreconditionError
from txid_sync.model import Document
from txid_sync.sinks.elasticsearch_http import NDJSON, ElasticsearchSettings, Http, quoted

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).resolve().parents[2] / "consistency-check.py"


@dataclass
class World:
    """One table and one index."""

    database: Database
    http: Http
    url: str
    index: str
    prefix: str

    def sql(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        """Run a statement."""
        with closing(self.database.connect()) as session, session.cursor() as cursor:
            cursor.execute("set time zone 'UTC'")
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def mirror(self, key: str = "id", where: str = "true", columns: str = "t.*") -> None:
        """Write every row into the index, as it is."""
        self.create()
        keys = ",".join(f"{column}::text" for column in key.split(","))
        found = self.sql(
            f"select array[{keys}], (select row_to_json(doc)::text from (select {columns}) doc) "
            f"from t where {where}"
        )
        for at in range(0, len(found), 500):
            lines = []
            for texts, row in found[at : at + 500]:
                key = [str(text) for text in texts]  # type: ignore[attr-defined]
                lines.append(json.dumps({"index": {"_id": ids.encode(key)}}))
                lines.append(str(row).replace("\n", " "))
            body = "".join(f"{line}\n" for line in lines).encode()
            answer = self.http.send("POST", f"/{self.index}/_bulk", body, NDJSON).value()
            assert not answer["errors"], answer

    def create(self) -> None:
        """Make the index; its mapping looks at nothing."""
        value = {"mappings": {"dynamic": False}, "settings": {"refresh_interval": -1}}
        self.http.ask("PUT", f"/{self.index}", value)

    def put(self, id: str, body: str, options: str = "") -> None:
        """Write one document."""
        path = f"/{self.index}/_doc/{quoted(id)}{options}"
        assert self.http.send("PUT", path, body.encode()).status in (200, 201)

    def delete(self, id: str) -> None:
        """Remove one document."""
        assert self.http.send("DELETE", f"/{self.index}/_doc/{quoted(id)}").status == 200

    @property
    def dead_letters(self) -> str:
        """The index of dead letters."""
        return f"{self.prefix}dead"

    def compare(self, **document: object) -> Comparison:
        """Compare, as a library."""
        settings = ElasticsearchSettings(self.url)
        wanted = [Document("public.t", self.index, **document)]  # type: ignore[arg-type]
        (result,) = compare(self.database.dsn, settings, wanted, self.dead_letters)
        return result

    def script(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the program."""
        servers = {"POSTGRES_CONFIG": self.database.dsn, "ELASTICSEARCH_URL": self.url}
        return subprocess.run(
            [sys.executable, str(SCRIPT), *arguments],
            env={**os.environ, **servers, **environment},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip


@pytest.fixture
def world(database: Database, elasticsearch_url: str, index_prefix: str) -> Iterator[World]:
    """No table and no index yet."""
    with closing(Http(ElasticsearchSettings(elasticsearch_url), 1, 60.0)) as http:
        yield World(database, http, elasticsearch_url, f"{index_prefix}t", index_prefix)


def counts(result: Comparison) -> tuple[int, int, int]:
    """Missing, stale and ghosts."""
    return result.missing.count, result.stale.count, result.ghosts.count


def test_equal_sides_of_several_pages_are_equal(world: World) -> None:
    """Thousands of rows of all kinds of values, not yet refreshed, compare equal."""
    world.sql(
        "create table t (id int primary key, a numeric, b jsonb, c text[], d timestamptz, e bytea,"
        " f int4range, g float8, h interval, i json)"
    )
    world.sql(
        "insert into t select n, n / 7.0, jsonb_build_object('x', n, 'y', array[1.0, 1e400]),"
        " array['a,b', null], now() + n * '1 s'::interval, '\\x00ff', int4range(n, null), n / 3.0,"
        """ '1 mon', E'{"a": 1,\n "b": -0, "c": 1E5}' from generate_series(1, 5000) n"""
    )
    world.sql("insert into t values (-1, 'NaN', 'null', '{}', 'infinity', '', 'empty', 'NaN')")
    world.mirror()
    result = world.compare()
    assert result.equal, result
    assert (result.rows, result.documents) == (5001, 5001)


def test_A18_one_difference_of_each_kind_among_many_rows_is_found(world: World) -> None:
    """A missing, a stale and a ghost document, in pages far apart, are named with their fields."""
    world.sql("create table t (id int primary key, a int, b text)")
    world.sql("insert into t select n, n, 'x' from generate_series(1, 6000) n")
    world.mirror()
    world.delete("17")
    world.put("3333", '{"id":3333,"a":3332,"b":"x"}')
    world.put("6001", '{"id":6001,"a":1,"b":"x"}')
    result = world.compare()
    assert counts(result) == (1, 1, 1)
    assert not result.equal
    assert [d.id for d in result.missing.first] == ["17"]
    assert [(d.id, d.note) for d in result.stale.first] == [("3333", "a")]
    assert [d.id for d in result.ghosts.first] == ["6001"]


def test_equal_counts_do_not_make_equal_sides(world: World) -> None:
    """One missing and one ghost balance in number only."""
    world.sql("create table t (id int primary key)")
    world.sql("insert into t select generate_series(1, 20)")
    world.mirror()
    world.delete("1")
    world.put("99", '{"id":99}')
    assert counts(world.compare()) == (1, 0, 1)


DIFFERENT = [
    ("1.2345678901234567890", "1.2345678901234567891"),
    ("12345678901234567890", "12345678901234567891"),
    ("1", "1.0"),
    ("1.0", "1.00"),
    ("1", '"1"'),
    ("1", "true"),
    ("0", "false"),
    ("0", "-0"),
    ("null", '"null"'),
    ("null", "{}"),
    ("[1, 2]", "[2, 1]"),
    ("[]", "[null]"),
    ("[1]", "1"),
    ('{"x": null}', "{}"),
    ('"a"', '"A"'),
    ('"a"', '"a "'),
    ('"\\u00e9"', '"e\\u0301"'),
    ("1e400", "1e401"),
]


def test_every_small_difference_of_content_is_stale(world: World) -> None:
    """Digits, types, order, null: whatever is not the same is told, in both directions."""
    world.sql("create table t (id int primary key, v json)")
    world.create()
    pairs = [*DIFFERENT, *[(b, a) for a, b in DIFFERENT]]
    for number, (row, document) in enumerate(pairs):
        world.sql("insert into t values (%s, %s)", number, row)
        world.put(str(number), f'{{"id":{number},"v":{document}}}')
    result = world.compare()
    assert counts(result) == (0, len(pairs), 0)
    assert len(result.stale.first) == 10


def test_absent_and_additional_fields_are_stale(world: World) -> None:
    """A field that is null is not one that is absent."""
    world.sql("create table t (id int primary key, a int)")
    world.sql("insert into t values (1), (2), (3)")
    world.mirror()
    world.put("1", '{"id":1}')
    world.put("2", '{"id":2,"a":null,"b":null}')
    assert [(d.id, d.note) for d in world.compare().stale.first] == [("1", "a"), ("2", "b")]


STRANGE = ["", "a,b", "a\\,b", "\\", ",", "\\0", "é", "e\u0301", "😀", "a b", "a/b?c#d%20", '"',
           "'", "%", "A", "\n", "x" * 500]  # fmt: skip


def test_strange_keys_are_found_on_both_sides(world: World) -> None:
    """Commas, backslashes, Unicode and empty texts; and their neighbours are not confused."""
    world.sql("create table t (id text primary key)")
    for key in STRANGE:
        world.sql("insert into t values (%s)", key)
    world.mirror()
    assert world.compare().equal
    world.delete(ids.encode(["a,b"]))
    world.put(ids.encode(["a\\\\,b"]), '{"id":"a\\\\,b"}')
    world.put("a,b", '{"id":"a,b"}')
    result = world.compare()
    assert [d.id for d in result.missing.first] == ["a\\,b"]
    assert {d.id for d in result.ghosts.first} == {"a\\\\\\\\\\,b", "a,b"}


def test_composite_keys_of_every_type(world: World) -> None:
    """Many pages in the order of a key of several types, an enum of the user's own among them."""
    world.sql("create type mood as enum ('sad', 'ok')")
    world.sql("create table t (a text, b mood, c numeric, primary key (a, b, c))")
    world.sql(
        "insert into t select n % 7 || ',', case n % 2 when 0 then 'sad' else 'ok' end::mood,"
        " case n when 3 then 'NaN' else n / 2.0 end::numeric from generate_series(1, 3000) n"
    )
    world.mirror("a,b,c")
    assert world.compare().equal
    world.put("0\\,,sad,9.50", "{}")
    world.put("0\\,,glad,1", "{}")
    assert counts(world.compare()) == (0, 0, 2)


def test_ids_that_are_no_key_are_ghosts(world: World) -> None:
    """A document whose id is no value of the key's type, or written otherwise, has no row."""
    world.sql("create table t (id int primary key)")
    world.sql("insert into t select generate_series(1, 50)")
    world.mirror()
    wrong = ["abc", "1,2", "01", "+1", " 1", "99999999999999999999", "\\0", "a\\b", "\0"]
    for id in wrong:
        world.put(id, '{"id":1}')
    result = world.compare()
    assert {d.id for d in result.ghosts.first} == set(wrong)


def test_a_second_document_under_one_id_is_a_ghost(world: World) -> None:
    """A document with a routing can have the id of another one; looking up ids never shows it."""
    world.sql("create table t (id int primary key)")
    world.sql("insert into t values (1)")
    value = {"settings": {"number_of_shards": 5}}
    world.http.ask("PUT", f"/{world.index}", value)
    world.put("1", '{"id":1}')
    for routing in "abcdefgh":
        world.put("1", '{"id":0}', f"?routing={routing}")
    result = world.compare()
    assert not result.equal
    assert result.ghosts.count >= 1


def test_empty_sides(world: World) -> None:
    """Nothing equals nothing; one row or one document alone is a difference."""
    world.sql("create table t (id int primary key)")
    world.create()
    assert world.compare().equal
    world.put("1", '{"id":1}')
    assert counts(world.compare()) == (0, 0, 1)
    world.delete("1")
    world.sql("insert into t values (1)")
    assert counts(world.compare()) == (1, 0, 0)


def test_a_missing_index_is_never_equal(world: World) -> None:
    """All rows are missing then; and an empty table is not equal to no index either."""
    world.sql("create table t (id int primary key)")
    assert not world.compare().equal
    world.sql("insert into t values (1), (2)")
    assert counts(world.compare()) == (2, 0, 0)


def test_only_the_configured_columns_and_rows_count(world: World) -> None:
    """With `columns` and `where` the documents are those rows, and no others."""
    world.sql("create table t (id int primary key, a int, b text)")
    world.sql("insert into t select n, n, '50%' from generate_series(1, 10) n")
    world.mirror(where="a > 5", columns="a, id")
    only = {"columns": ("a", "id"), "where": "a > 5 and b like '50%'"}
    assert world.compare(**only).equal
    world.sql("update t set a = 0 where id = 6")
    assert [d.id for d in world.compare(**only).ghosts.first] == ["6"]
    assert counts(world.compare()) == (5, 5, 0)


def test_dead_letters_are_named_and_not_equal(world: World) -> None:
    """A refused document is missing, and called a dead letter."""
    world.sql("create table t (id text primary key)")
    world.sql("insert into t values ('a'), ('b'), (repeat('x', 600))")
    world.mirror(where="id = 'a'")
    for id in ("b", "x" * 600):
        letter = {"document": world.index, "id": id, "reason": "r", "at": "2024-01-01"}
        path = f"/{world.dead_letters}/_doc"
        world.http.ask("PUT", f"/{world.dead_letters}", dead_mapping(), allowed=[400])
        world.http.ask("POST", path, letter)
    result = world.compare()
    assert [(d.id[:1], d.note) for d in result.missing.first] == [
        ("b", "dead letter"),
        ("x", "dead letter"),
    ]
    assert (result.dead_letters, result.equal) == (2, False)


def dead_mapping() -> dict[str, object]:
    """The fields of a dead letter that are searched."""
    fields = {"document": "keyword", "id": "keyword", "at": "date"}
    return {"mappings": {"properties": {n: {"type": t} for n, t in fields.items()}}}


def test_a_table_without_a_key_is_refused(world: World) -> None:
    """There is nothing to compare by."""
    world.sql("create table t (id int unique)")
    with pytest.raises(PreconditionError, match="no primary key"):
        world.compare()


def test_the_program_tells_equal_from_not_equal(world: World) -> None:
    """Exit code 0 and 1, the first keys in the text, and everything in the JSON."""
    world.sql("create table t (id int primary key, a int)")
    world.sql("insert into t select n, n from generate_series(1, 30) n")
    world.mirror()
    arguments = ("--table", "t", "--index", world.index)
    done = world.script(*arguments)
    assert (done.returncode, done.stderr.strip()) == (0, "equal"), done
    world.sql("delete from t where id > 18")
    done = world.script(*arguments)
    assert done.returncode == 1
    assert "ghosts, in the index only (12):" in done.stdout
    assert "... and 2 more" in done.stdout
    done = world.script(*arguments, "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["equal"] is False
    assert told["documents"][0]["ghosts"]["count"] == 12


def test_the_program_reads_a_configuration(world: World, tmp_path: Path) -> None:
    """The tables of a txid-sync.toml, with their columns and conditions."""
    world.sql("create table t (id int primary key, a int)")
    world.sql("insert into t values (1, 1), (2, 2)")
    world.mirror(where="a = 1")
    file = tmp_path / "c.toml"
    text = f'[sink]\n[[document]]\ntable = "t"\nindex = "{world.index}"\n'
    file.write_text(text)
    assert world.script("--config", str(file)).returncode == 1
    file.write_text(text + 'where = "a = 1"\n')
    assert world.script("--config", str(file)).returncode == 0


def test_the_program_waits_for_the_backlog(world: World) -> None:
    """With --within-seconds it compares again until both sides are equal."""
    world.sql("create table t (id int primary key)")
    world.sql("insert into t values (1)")
    world.create()
    program = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--table", "t", "--index", world.index,
         "--within-seconds", "60"],
        env={**os.environ, "POSTGRES_CONFIG": world.database.dsn, "ELASTICSEARCH_URL": world.url},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(3)
    world.put("1", '{"id":1}')
    assert program.wait(60) == 0


@pytest.mark.parametrize(
    ("code", "arguments", "environment"),
    [
        (2, ("--index", "a"), {}),
        (2, ("--config", "/nowhere.toml"), {}),
        (2, (), {"POSTGRES_CONFIG": "no connection string"}),
        (3, ("--table", "t"), {"POSTGRES_CONFIG": "host=127.0.0.1 port=1"}),
        (4, ("--table", "t"), {"ELASTICSEARCH_URL": "http://127.0.0.1:1"}),
        (5, ("--table", "nothing"), {}),
    ],
)
def test_what_goes_wrong_is_one_line_and_an_exit_code(
    world: World, code: int, arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    """No traceback, nothing on stdout, and the documented exit code."""
    world.sql("create table t (id int primary key)")
    done = world.script(*arguments, **environment)
    assert done.returncode == code, done
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert lines[0].startswith("error: ")
    assert len(lines) <= 2
