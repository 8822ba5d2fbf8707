"""The commands of the command line, one file each; every file has its `command`."""

from __future__ import annotations

# Where a command leaves word, in the context of click, that tracebacks are wanted.
DEBUG = "txid_sync.debug"
