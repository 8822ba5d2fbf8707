"""Where documents go.

`SINKS` names every sink and where its class is; `sink_class` imports only the one that is asked
for, so that a sink's own dependencies are needed only where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from txid_sync.errors import UsageError

if TYPE_CHECKING:
    from txid_sync.sinks.base import Sink

SINKS: Mapping[str, str] = {
    "discard": "txid_sync.sinks.discard:DiscardSink",
    "elasticsearch": "txid_sync.sinks.elasticsearch:ElasticsearchSink",
    "memory": "txid_sync.sinks.memory:MemorySink",
    "opensearch": "txid_sync.sinks.elasticsearch:ElasticsearchSink",
}


def sink_class(name: str) -> type[Sink]:
    """The class of a sink by its name; raises UsageError for a name that is not in `SINKS`."""
    if name not in SINKS:
        raise UsageError(f"there is no sink {name!r}", f"known: {', '.join(sorted(SINKS))}")
    module, _, attribute = SINKS[name].partition(":")
    found: type[Sink] = getattr(import_module(module), attribute)
    return found
