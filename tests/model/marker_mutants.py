"""Rules of the marker, each broken for the time of one search."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest import mock

from txid_sync import continuity
from txid_sync.keeper import Keeper
from txid_sync.model import Page
from txid_sync.progress.base import Progress

Patch = AbstractContextManager[Any]


def marker_not_compared() -> Patch:
    """Any history is believed to be the same as long as nothing was sent since a marker."""
    real = continuity.proved

    def proved(progress: Progress, identity: Any, nonce: str, nothing_sent: bool) -> bool:
        nonce = progress.marker.nonce if progress.marker else nonce
        return real(progress, identity, nonce, nothing_sent)

    return mock.patch.object(continuity, "proved", proved)


def sent_after_the_marker_not_compared() -> Patch:
    """What was sent and not counted is believed to have been nothing."""
    real = Keeper._adopted

    def adopted(self: Keeper, identity: Any) -> bool:
        self._nothing_sent = True
        return real(self, identity)

    return mock.patch.object(Keeper, "_adopted", adopted)


def opened_after_sending() -> Patch:
    """Progress says that nobody is at work while pages are sent."""
    real = Keeper.sends

    def sends(self: Keeper, page: Page) -> None:
        progress = self._progress
        assert progress is not None
        self._progress = replace(progress, closed=False)
        real(self, page)

    return mock.patch.object(Keeper, "sends", sends)
