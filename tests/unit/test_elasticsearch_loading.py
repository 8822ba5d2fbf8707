"""The refresh interval during a load: whose is taken back, and what is said when that fails."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from txid_sync.errors import PreconditionError
from txid_sync.sinks.elasticsearch_http import Http
from txid_sync.sinks.elasticsearch_loading import LOADING, load_begins, load_ends

SETTING = "index.refresh_interval"


@dataclass
class Answer:
    """What an index says of itself."""

    status: int
    settings: dict[str, Any]

    def value(self) -> dict[str, Any]:
        """As Elasticsearch: an index that has no such setting is left out."""
        return {"i-000001": {"settings": self.settings}} if self.settings else {}


@dataclass
class Settings:
    """The settings of one index, in place of a sink's `Http`."""

    interval: str | None = None
    status: int = 200
    refuses: str = ""
    changes: list[object] = field(default_factory=list)

    def ask(self, method: str, path: str, value: Any = None, allowed: Any = ()) -> Answer:
        """Answer as the index does."""
        assert path.startswith("/i/_settings")
        assert 404 in allowed
        if method == self.refuses:
            raise PreconditionError("no permission")
        if method == "PUT":
            self.interval = value[SETTING]
            self.changes.append(self.interval)
        return Answer(self.status, {} if self.interval is None else {SETTING: self.interval})


@pytest.mark.parametrize(
    ("interval", "begun", "ended"),
    [(None, [LOADING], []), (LOADING, [], [None]), ("1s", [], []), ("-1", [], [])],
)
def test_only_its_own_interval_is_replaced(
    interval: str | None, begun: list[object], ended: list[object]
) -> None:
    """One that an operator or a template has set stays, at the begin and at the end."""
    for action, changes in ((load_begins, begun), (load_ends, ended)):
        index = Settings(interval)
        action(cast("Http", index), "i")
        assert index.changes == changes


def test_an_index_that_is_gone_is_left_to_the_pages() -> None:
    """They notice it."""
    index = Settings(status=404)
    load_begins(cast("Http", index), "i")
    assert index.changes == []


@pytest.mark.parametrize("refuses", ["GET", "PUT"])
def test_a_refusal_is_told_and_the_load_goes_on(
    refuses: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A role without `manage` loads more slowly, or leaves an interval that the log names."""
    with caplog.at_level(logging.WARNING):
        load_ends(cast("Http", Settings(LOADING, refuses=refuses)), "i")
    (record,) = caplog.records
    assert "no permission" in record.getMessage()
    assert "null" in record.getMessage()
