"""Rules of long windows, each broken in the real classes for the time of one search."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest import mock

from txid_sync.backlog import Backlog
from txid_sync.cursor import Cursor

Patch = AbstractContextManager[Any]


def skim_without_its_keys() -> Patch:
    """What a skim has listed counts as read."""
    return mock.patch.object(Backlog, "next", return_value=())


def seen_beyond_a_rewind() -> Patch:
    """Keys whose pages were thrown away are left out."""

    def rewound(self: Backlog) -> Backlog:
        return replace(self.ended(), entries=2)

    return mock.patch.object(Backlog, "rewound", rewound)


def seen_in_every_window() -> Patch:
    """A key that changes again in a later window is left out."""

    def sampled(self: Backlog, cursor: Cursor, repeats: bool) -> Backlog:
        return replace(original(self, cursor, repeats), seen=self.seen)

    original = Backlog.sampled
    return mock.patch.object(Backlog, "sampled", sampled)
