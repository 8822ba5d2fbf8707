"""Ids and keys: many at once as one by one, and arrays as the server reads them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from txid_sync import ids
from txid_sync.sources.postgres_prepared import array

TEXTS = st.text(alphabet='a7,\\0"\0é', max_size=4)


@given(st.lists(st.lists(TEXTS, min_size=1, max_size=3), max_size=5))
def test_an_id_gives_its_key_back(keys: list[list[str]]) -> None:
    """No two keys of as many columns have the same id."""
    for key in keys:
        assert ids.decode(ids.encode(key), len(key)) == tuple(key)


@given(st.lists(TEXTS, max_size=5, unique=True), st.integers(1, 3))
def test_ids_are_decoded_together_as_one_by_one(given_ids: list[str], columns: int) -> None:
    """Whether they have special characters or not, in the same order, nothing left out."""
    keys, foreign = ids.decode_all(given_ids, columns)
    one_by_one = {id: None if "\0" in id else ids.decode(id, columns) for id in given_ids}
    known = [id for id, key in one_by_one.items() if key is not None]
    assert [*keys.ids] == known
    assert [*zip(*keys.columns, strict=True)] == [one_by_one[id] for id in known]
    assert [*foreign] == [id for id in given_ids if one_by_one[id] is None]
    first, rest = keys.part(slice(1)), keys.part(slice(1, None))
    assert [*first.ids, *rest.ids] == known
    assert [list(c) for c in keys.columns] == [
        [*a, *b] for a, b in zip(first.columns, rest.columns, strict=True)
    ]


def _read(text: str) -> list[str]:
    """The elements of an array's text whose elements are all quoted, by the server's rules."""
    found: list[str] = []
    at, end = 1, len(text) - 1
    while at < end:
        assert text[at] == '"', "an element begins with a quote"
        at, element = at + 1, ""
        while text[at] != '"':
            at += text[at] == "\\"
            element, at = element + text[at], at + 1
        found.append(element)
        at += 1
        assert at == end or text[at] == ",", "elements are parted by commas"
        at += 1
    return found


@given(st.lists(TEXTS, max_size=5))
def test_an_array_says_what_it_was_made_of(values: list[str]) -> None:
    """With quotes, backslashes and commas, and with none of them."""
    assert _read(array(values)) == values
