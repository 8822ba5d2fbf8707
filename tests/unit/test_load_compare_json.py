"""Equality of JSON values in the comparison."""

from __future__ import annotations

import pytest

from txid_sync.compare_json import differing, read


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1.0"), ("1e2", "100"), ("-0", "0"), ("1", "true"), ("0", "false"), ('"1"', "1"),
     ("null", "false"), ("[1,2]", "[2,1]"), ('["number", "1"]', "1"), ('{"a":null}', "{}"),
     ('{"a":1,"a":2}', '{"a":2}'), ('{"a":1,"a":2}', '{"a":2,"a":1}'), ("[]", "{}"),
     ('{"a":{"b":1,"b":2}}', '{"a":{"b":2}}'), ("9" * 5000, "9" * 4999 + "8")],
)  # fmt: skip
def test_different_values_are_unequal(one: str, other: str) -> None:
    """In both directions, and by both operators."""
    assert read(one) != read(other)
    assert not read(one) == read(other)  # noqa: SIM201  the other operator
    assert read(other) != read(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [('{"a":1,"b":[{"c":2.50}]}', ' { "b": [ {"c": 2.50} ], "a": 1 } '),
     ('"\\u00e9"', '"é"'), ('{"a":1,"a":2}', '{"a": 1, "a": 2}')],
)  # fmt: skip
def test_the_same_values_are_equal(one: str, other: str) -> None:
    """White space, the order of names and the way characters are written do not count."""
    assert read(one) == read(other)
    assert not read(one) != read(other)  # noqa: SIM202  the other operator


def test_differing_names_the_fields() -> None:
    """Those that differ, and those that only one side has."""
    one, other = read('{"a":1,"b":2,"c":null}'), read('{"a":1,"b":"2","d":null}')
    assert differing(one, other) == ["b", "c", "d"]
    assert differing(one, None) == []
