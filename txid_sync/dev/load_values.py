"""Random values of every type, as texts that PostgreSQL reads; None is null.

>>> from random import Random
>>> text_of(Random(1), "int4"), key_of(LoadColumn("k", "text", False, (), True), 0)
('-2147483648', '')
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from random import Random

from txid_sync.dev.load_tables import LoadColumn

NULL_SHARE = 0.1
STRANGE = (
    "", "a,b", "back\\slash", "\\", ",", "quo\"te'", "line\nbreak", "tab\t", "ünïcödé", "日本語",
    "😀", "NULL", "null", "{}", "%s", "$1", " padded ", "\x01\x7f", "e\u0301",
)  # fmt: skip
FIRST_DAY = date(2012, 1, 1)
DAYS = 365 * 22  # all partitions of the demo are hit


def key_of(column: LoadColumn, number: int) -> str:
    """The value of a key column for a number; different numbers below 8,000 give different keys."""
    kind = column.type
    if kind in ("int2", "int4", "int8", "numeric", "float4", "float8", "oid"):
        return str(number)
    if kind == "uuid":
        return str(uuid.UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128))
    if kind in ("date", "timestamp", "timestamptz"):
        return (FIRST_DAY + timedelta(days=(number * 37) % DAYS)).isoformat()
    if column.labels:
        return column.labels[number % len(column.labels)]
    if kind == "bool":
        return "t" if number % 2 else "f"
    strange = STRANGE[number % len(STRANGE)]
    return strange if number < len(STRANGE) else f"{strange}{number}"


def value_of(random: Random, column: LoadColumn) -> str | None:
    """A value for any other column."""
    if not column.not_null and random.random() < NULL_SHARE:
        return None
    if not column.array:
        return random.choice(column.labels) if column.labels else text_of(random, column.type)
    elements = [
        None if random.random() < NULL_SHARE
        else random.choice(column.labels) if column.labels
        else text_of(random, column.type)
        for _ in range(random.randrange(4))
    ]  # fmt: skip
    return "{" + ",".join("null" if e is None else _quoted(e) for e in elements) + "}"


def text_of(random: Random, kind: str) -> str:
    """A value of a base type; a type that is not known gets a text."""
    return MAKERS.get(kind, _text)(random)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _text(random: Random) -> str:
    if random.random() < 0.3:
        return random.choice(STRANGE)
    length = 3000 if random.random() < 0.005 else random.randrange(1, 40)
    return "".join(random.choices("abcdefghijk lmnopqrstuvwxyz", k=length))


def _whole(bits: int) -> Callable[[Random], str]:
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def make(random: Random) -> str:
        if random.random() < 0.2:
            return str(random.choice((least, -1, 0, 1, most)))
        return str(random.randrange(10_000))

    return make


def _numeric(random: Random) -> str:
    digits = random.choice((1, 2, 3))
    return f"{random.randrange(-(10**8), 10**8)}.{random.randrange(10**digits):0{digits}}"


def _float(random: Random) -> str:
    if random.random() < 0.05:
        return random.choice(("NaN", "Infinity", "-Infinity", "-0"))
    return repr(random.uniform(-1e6, 1e6))


def _date(random: Random) -> str:
    if random.random() < 0.03:
        return random.choice(("infinity", "-infinity", "0044-03-15 BC"))
    return (FIRST_DAY + timedelta(days=random.randrange(DAYS))).isoformat()


def _moment(random: Random) -> str:
    seconds = random.randrange(86_400)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    day = (FIRST_DAY + timedelta(days=random.randrange(DAYS))).isoformat()
    return f"{day} {clock}.{random.randrange(10**6):06}+00"


def _json(random: Random) -> str:
    value = random.choice(
        (
            {"n": random.random(), "s": random.choice(STRANGE), "deep": {"list": [1, None, "x"]}},
            [random.randrange(9), {"a": []}, None, True],
            random.choice(STRANGE),
            random.randrange(2**60),
            {},
            None,
        )
    )
    return json.dumps(value)


def _address(random: Random) -> str:
    four = ".".join(str(random.randrange(256)) for _ in range(4))
    six = f"2001:db8::{random.randrange(65_536):x}"
    return random.choice((four, f"{four}/32", six, "10.0.0.0/8"))


def _span(random: Random) -> str:
    low = random.randrange(1000)
    return random.choice((f"[{low},{low + random.randrange(1, 50)})", "empty", f"[{low},)", "(,)"))


MAKERS: Mapping[str, Callable[[Random], str]] = {
    "int2": _whole(16),
    "int4": _whole(32),
    "int8": _whole(64),
    "numeric": _numeric,
    "float4": _float,
    "float8": _float,
    "bool": lambda random: random.choice("tf"),
    "date": _date,
    "timestamp": _moment,
    "timestamptz": _moment,
    "json": _json,
    "jsonb": _json,
    "uuid": lambda random: str(uuid.UUID(int=random.getrandbits(128))),
    "inet": _address,
    "bytea": lambda random: "\\x" + random.randbytes(random.randrange(20)).hex(),
    "int4range": _span,
    "int8range": _span,
    "interval": lambda random: f"{random.randrange(-99, 99)} mons {random.randrange(9999)} secs",
}
