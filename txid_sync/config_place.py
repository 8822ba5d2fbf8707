"""Where a configuration value stands, so that every complaint names file, section and key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from txid_sync.address import ADDRESS_HINT, address_of
from txid_sync.errors import UsageError

_INDEX_FORBIDDEN = set('\\/*?"<>|,#: ')
_INDEX_BYTES = 245  # an index of ours gets a number behind its name


@dataclass(frozen=True, slots=True)
class Place:
    """A section (or one [[document]]) of a source of settings."""

    file: str
    section: str = ""

    def wrong(self, key: str, what: str, hint: str = "") -> UsageError:
        """The error to raise about a key."""
        section = f"[{self.section}] " if self.section else ""
        return UsageError(f"{self.file}: {section}{key} {what}", hint)

    def refuse_unknown(self, given: Iterable[str], known: Iterable[str], what: str = "key") -> None:
        """Raise UsageError about the first name that is not known, with the nearest that is."""
        known = list(known)
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                raise self.wrong(name, f"is no known {what}", hint)

    def check_text(self, key: str, value: object) -> str:
        """A text that is not empty."""
        if not isinstance(value, str):
            raise self.wrong(key, f"must be a text, not {kind_of(value)}")
        if not value.strip():
            raise self.wrong(key, "must not be empty")
        return value

    def check_texts(self, key: str, value: object) -> tuple[str, ...]:
        """An array of different texts."""
        if not isinstance(value, list):
            raise self.wrong(key, f"must be an array of texts, not {kind_of(value)}")
        texts = tuple(self.check_text(key, element) for element in value)
        twice = next((text for text in texts if texts.count(text) > 1), None)
        if twice is not None:
            raise self.wrong(key, f"names {twice!r} twice")
        return texts

    def check_choice(self, key: str, value: str, choices: Iterable[str]) -> str:
        """One of a few words."""
        choices = list(choices)
        if value not in choices:
            near = difflib.get_close_matches(value, choices, n=1)
            raise self.wrong(
                key,
                f"is {value!r}, which is none of {', '.join(choices)}",
                f"did you mean {near[0]!r}?" if near else "",
            )
        return value

    def check_index(self, key: str, value: str) -> str:
        """A name that Elasticsearch takes for an index."""
        bad = sorted(_INDEX_FORBIDDEN & set(value))
        if value != value.lower():
            raise self.wrong(key, f"is {value!r}; the name of an index must be lower case")
        if bad or value[:1] in ("-", "_", "+") or value in ("", ".", ".."):
            detail = f" (it contains {bad[0]!r})" if bad else ""
            raise self.wrong(key, f"is {value!r}, which is no name of an index{detail}")
        if len(value.encode()) > _INDEX_BYTES:
            raise self.wrong(key, f"is longer than {_INDEX_BYTES} bytes")
        return value

    def check_address(self, key: str, value: str) -> str:
        """A host and a port."""
        if address_of(value) is None:
            raise self.wrong(key, f"is {value!r}, which is no address", ADDRESS_HINT)
        return value


def kind_of(value: object) -> str:
    """The TOML name of a value's type, without the value."""
    names = {bool: "a boolean", int: "a whole number", float: "a number", str: "a text"}
    names |= {list: "an array", dict: "a table"}
    return names.get(type(value), "a date or time")
