"""How often an index is refreshed while it is filled for the first time.

Refreshing once a second, as a new index does, makes a segment each time, and the version of every
later document is looked up in all of them: a fifth of what a large load costs.  An index that is
made for a load refreshes once in `LOADING` meanwhile, and by its default afterwards.

The interval is one that nobody chooses, so that it tells by itself who has set it: whoever ends a
load, or finds it when it starts, takes back what another process has set that was killed, and never
what an operator or a template has.  Should nobody come back, documents still become visible.
"""

from __future__ import annotations

import logging

from txid_sync.errors import PreconditionError
from txid_sync.sinks.elasticsearch_http import Http, quoted

LOADING = "61s"
_SETTING = "index.refresh_interval"
_log = logging.getLogger(__name__)


def load_begins(http: Http, index: str) -> None:
    """Refresh seldom, if the index does so by default; raises SinkUnavailable."""
    _replace(http, index, None, LOADING)


def load_ends(http: Http, index: str) -> None:
    """Refresh by default, if it was changed by `load_begins`; raises SinkUnavailable."""
    _replace(http, index, LOADING, None)


def _replace(http: Http, index: str, known: str | None, interval: str | None) -> None:
    path = f"/{quoted(index)}/_settings"
    try:
        answer = http.ask("GET", f"{path}/{_SETTING}?flat_settings=true", allowed=[404])
        if answer.status == 404:
            return  # noticed by the pages
        found = [one["settings"].get(_SETTING) for one in answer.value().values()]
        if found == [known] or (known is None and not found):
            http.ask("PUT", path, {_SETTING: interval}, allowed=[404])
    except PreconditionError as error:
        _log.warning(
            "index %s: %s could not be changed from %s to %s for a load (%s)",
            index, _SETTING, known or "null", interval or "null", error.message,
        )  # fmt: skip
