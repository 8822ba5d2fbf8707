"""Values of every type, as PostgreSQL writes them, are taken by a real index under our mapping."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from txid_sync.dev import PostgresServer
from txid_sync.mapping import ALIASES, TYPES
from txid_sync.model import Ack, Column, Document, Page, Schema
from txid_sync.sinks.elasticsearch import ElasticsearchSettings, ElasticsearchSink
from txid_sync.sinks.elasticsearch_http import Http, quoted

pytestmark = pytest.mark.integration

LONG = "repeat('word ', 20000)"
DAYS = "('infinity'), ('-infinity'), ('0044-03-15 BC'), ('12024-01-02'), ('294000-01-01'), (null)"
VALUES: dict[str, str] = {
    "int2": "(0), (-32768), (32767), (null)",
    "int4": "(2147483647), (-2147483648)",
    "int8": "(9223372036854775807), (-9223372036854775808)",
    "oid": "(4294967295)",
    "float4": "('NaN'), ('Infinity'), ('-Infinity'), ('1e-45'), ('3.4e38'), ('-0')",
    "float8": "('NaN'), ('Infinity'), ('-Infinity'), ('5e-324'), ('1.7976931348623157e308')",
    "numeric": "('NaN'), ('Infinity'), ('1e400'), ('-1e400'), ('1e-400'), "
    "('1e999'), ('0.1234567890123456789012345678901234567890')",
    "bool": "('t'), ('f'), (null)",
    "text": f"(''), ({LONG}), (repeat('x', 200000)), (E'a\\nb\\t\"\\\\\\x01'), ('héé😀'), ('null')",
    "varchar": f"({LONG})",
    "bpchar": "('c   ')",
    "xml": "('<a>&amp;</a>')",
    "tsvector": "('a b')",
    "tsquery": "('a & b')",
    "date": DAYS.replace("294000-01-01", "5874897-12-31"),
    "timestamp": f"{DAYS}, ('2024-02-29 23:59:59.999999'), ('2024-12-31 23:59:60')",
    "timestamptz": f"{DAYS}, ('2024-02-29 23:59:59.999999+05:45'), ('1880-01-01 00:00+00:19:32')",
    "inet": "('10.0.0.1'), ('10.0.0.0/8'), ('::1'), ('2001:db8::/32'), ('::ffff:1.2.3.4')",
    "cidr": "('10.0.0.0/8'), ('::/0')",
    "uuid": "('00000000-0000-0000-0000-000000000000')",
    "name": "('n')",
    "bit": "('1')",
    "varbit": "(''), (repeat('10', 50000))",
    "money": "('-92233720368547758.08'), ('1')",
    "interval": "('-178000000 years'), ('1 mon -1 day 00:00:01'), ('1 second')",
    "time": "('24:00:00'), ('00:00:00.000001')",
    "timetz": "('23:59:60+15:59')",
    "macaddr": "('08:00:2b:01:02:03')",
    "macaddr8": "('08:00:2b:01:02:03:04:05')",
    "pg_lsn": "('FFFFFFFF/FFFFFFFF')",
    "xid8": "('18446744073709551615')",
    "pg_snapshot": "('10:20:10,14')",
    "regclass": "('pg_class')",
    "point": "('(1,2)')",
    "path": "('[(0,0),(1,1)]')",
    "circle": "('<(0,0),1>')",
    "bytea": "(''), ('\\x00ff'), ('\\x' || repeat('ff', 50000))",
    "json": "('1'), ('\"s\"'), ('null'), ('[1, \"a\", {}]'), ('{\"a\": {\"a\": 2}}'), "
    "('{\"\": 1, \".\": 2, \"_id\": 3, \"a.b.\": [[[]]]}'), ('1e999')",
    "jsonb": "('1'), ('[]'), ('[{\"a\": 1}, {\"a\": \"x\"}]'), ('{\"a\": null}'), ('1e400')",
    "jsonpath": "('$.a')",
    "mood": "('sad')",
    "pair": "('(1,x)'), ('(,)')",
    "int4range": "('[1,5)'), ('empty'), ('(,)')",
    "int4multirange": "('{[1,2),[5,6)}'), ('{}')",
    "tstzrange": "('[infinity,infinity]')",
}
KINDS = {
    "mood": "enum",
    "pair": "composite",
    "int4range": "range",
    "int4multirange": "range",
    "tstzrange": "range",
}
NO_VALUES_HERE = {
    "xid", "cid", "citext", "char", "tid", "ltree", "lquery", "txid_snapshot", "regtype",
    "regproc", "regprocedure", "regoper", "regoperator", "regrole", "regnamespace", "regconfig",
    "regdictionary", "regcollation", "line", "lseg", "box", "polygon", "hstore",
}  # fmt: skip
ARRAYS = {
    "int4": "('{{1,null},{null,4}}'), ('{}'), (null), ('[2:3]={1,2}')",
    "numeric": "('{NaN,1e400,null,1}'), ('{{1},{2}}')",
    "bool": "('{{t,null},{f,f}}')",
    "text": "('{\"a b\",null,\"\"}'), ('{{a,b},{c,d}}')",
    "timestamptz": "('{infinity,null,2024-01-01,\"0044-03-15 BC\"}'), "
    "('{{2024-01-01},{2024-01-02}}')",
    "inet": "('{10.0.0.1,10.0.0.0/8,null}'), ('{{::1},{1.2.3.4}}')",
    "uuid": "('{{00000000-0000-0000-0000-000000000000},{null}}')",
    "bytea": "('{{\"\\\\\\\\x00\"},{null}}')",
    "jsonb": "(array['1', '\"x\"', 'null', '[1]', '{}']::jsonb[]::text)",
    "mood": "('{sad,null}')",
    "pair": "('{\"(1,x)\",null}')",
    "int4range": "('{\"[1,5)\"}')",
}
TOO_MUCH = {
    "numeric": "((10::numeric ^ 1000)::text)",
    "json": "('{\"a\": 1, \"a\": 2}')",
    "jsonb": "(repeat('[', 1001) || repeat(']', 1001)), ((10::numeric ^ 1000)::text)",
}


@pytest.fixture(scope="module")
def connection(postgres_server: PostgresServer) -> Iterator[psycopg2.extensions.connection]:
    """A session whose types and settings are thrown away with it."""
    with closing(postgres_server.connect()) as opened:
        opened.autocommit = True
        with opened.cursor() as cursor:
            cursor.execute("set time zone 'UTC'")
            cursor.execute("create type pg_temp.mood as enum ('sad', 'glad')")
            cursor.execute("create type pg_temp.pair as (a int, b text)")
        yield opened


def rows_as_json(
    connection: psycopg2.extensions.connection, type_name: str, values: str
) -> list[str]:
    """One JSON text per value, in a row with the one column `v`."""
    query = f"select row_to_json(t)::text from (select x::{type_name} as v from (values {values}) "
    with connection.cursor() as cursor:
        cursor.execute(query + "as list(x)) as t")
        return [text.replace("\n", " ") for (text,) in cursor.fetchall()]


def body_of(rows: list[str]) -> bytes:
    """A page's body with these rows as documents 0, 1, ..."""
    head = '{{"index":{{"_id":"{}","version":5,"version_type":"external_gte"}}}}\n{}\n'
    return "".join(head.format(i, row) for i, row in enumerate(rows)).encode()


def send(url: str, prefix: str, index: str, column: Column, rows: list[str]) -> Ack:
    """Make an index with this one column and send these rows to it."""
    settings = ElasticsearchSettings(url)
    with closing(ElasticsearchSink(settings, dead_letter_index=f"{prefix}dead")) as sink:
        sink.prepare([Document("t", index)], {index: Schema((column,), ("v",), "1", "1")})
        return sink.submit(Page(index, body_of(rows), len(rows), 5)).result()


CASES = [(name, False, values) for name, values in VALUES.items()]
CASES += [(name, True, values) for name, values in ARRAYS.items()]


@pytest.mark.parametrize("case", CASES, ids=[f"{n}{'[]' * a}" for n, a, _ in CASES])
def test_no_value_of_any_type_becomes_a_dead_letter(
    connection: psycopg2.extensions.connection,
    elasticsearch_url: str,
    index_prefix: str,
    case: tuple[str, bool, str],
) -> None:
    """Every value is indexed, and `_source` is exactly the row."""
    name, array, values = case
    index = f"{index_prefix}values-{name}-{array:d}"
    rows = rows_as_json(connection, name + ("[]" if array else ""), values)
    column = Column("v", name, KINDS.get(name, "base"), array)
    assert send(elasticsearch_url, index_prefix, index, column, rows).dead == ()
    settings = ElasticsearchSettings(elasticsearch_url)
    with closing(Http(settings, 1, 60.0)) as http:
        for number, row in enumerate(rows):
            stored = http.ask("GET", f"/{quoted(index)}/_source/{number}").body.decode()
            assert stored.strip() == row or json.loads(stored) == json.loads(row)


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_no_index_can_hold_becomes_a_dead_letter(
    connection: psycopg2.extensions.connection,
    elasticsearch_url: str,
    index_prefix: str,
    name: str,
) -> None:
    """Numbers over 1000 digits, JSON deeper than 1000, repeated keys: refused, one by one."""
    index = f"{index_prefix}too-much-{name}"
    rows = [*rows_as_json(connection, name, TOO_MUCH[name]), '{"v":null}']
    dead = send(elasticsearch_url, index_prefix, index, Column("v", name), rows).dead
    assert [letter.id for letter in dead] == [str(n) for n in range(len(rows) - 1)]


def test_every_type_of_the_table_is_tried() -> None:
    """A type that is added to the table needs values here."""
    mapped = {name for names, _ in TYPES for name in names}
    assert mapped - set(VALUES) == NO_VALUES_HERE
    assert set(ALIASES.values()) <= mapped
