"""txid-sync keeps Elasticsearch in step with PostgreSQL by polling transaction snapshots."""

from __future__ import annotations

from txid_sync.cursor import Cursor, Position, Window
from txid_sync.snapshot import Snapshot

__all__ = ["Cursor", "Position", "Snapshot", "Window", "__version__"]

__version__ = "0.1.0"
