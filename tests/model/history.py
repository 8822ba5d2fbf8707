"""What every key's content was, commit by commit; and what the sink must hold because of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from txid_sync.model import clock_of
from txid_sync.progress.base import DocumentProgress, Progress
from txid_sync.sources.memory_wal import Commit, State, Write

Content = str | None


@dataclass(frozen=True, slots=True)
class Fact:
    """A commit that is visible since `clock`."""

    clock: int
    top: int


@dataclass(frozen=True, slots=True)
class Past:
    """One content of a key, the transaction that made it and the clock since when it is seen."""

    top: int
    clock: int
    content: Content


def facts_of(state: State, known: tuple[Fact, ...], clock: int) -> tuple[Fact, ...]:
    """A fact for each commit there is now: those not known yet are visible since `clock`."""
    tops = [r.top for r in state.wal if isinstance(r, Commit)]
    clocks = {fact.top: fact.clock for fact in known}
    return tuple(Fact(clocks.get(top, clock), top) for top in tops)


def histories(
    state: State, facts: tuple[Fact, ...], keys: tuple[str, ...]
) -> dict[tuple[str, str], list[Past]]:
    """Every key's contents in the order of their commits (locks make that the order of writes)."""
    found: dict[tuple[str, str], list[Past]] = {}
    writes = [r for r in state.wal if isinstance(r, Write)]
    for fact in facts:
        for write in writes:
            if write.top != fact.top:
                continue
            rows: Any = write.rows or [((key,), None) for key in keys]
            for (key,), content in rows:
                past = Past(fact.top, fact.clock, content)
                found.setdefault((write.table, key), []).append(past)
    return found


def age(history: list[Past], content: Content, version: int) -> int:
    """Place of a content in its key's history; -1: it was never there.

    A delete is the latest one that its version may have seen.
    """
    for at in range(len(history) - 1, -1, -1):
        past = history[at]
        seen = past.clock <= clock_of(version) if content is None else True
        if past.content == content and seen:
            return at
    return -1


def text_of(source: bytes | None) -> Content:
    """The row's text that a document holds."""
    return None if source is None else source.decode().rstrip("\n")


def missing(
    key: str, history: list[Past], last: int, content: Content, entry: DocumentProgress
) -> bool:
    """Whether a key's document lacks what is counted up to place `last` of its history.

    A load that has not come to the key may still write it, a sweep that is due may remove it.
    """
    allowed = {past.content for past in history[last:]}
    if content in allowed:
        return False
    after = entry.load_after
    if entry.load and (after is None or (key,) > after):
        return False
    return not (None in allowed and (entry.load or entry.sweep_below))


def last_done(history: list[Past], progress: Progress, complete_clock: int) -> int:
    """Place of the last content that counts as sent, -1 if none does."""
    done = progress.cursor.done
    counted = [
        at for at, past in enumerate(history)
        if done.finished(past.top) or past.clock <= complete_clock
    ]  # fmt: skip
    return counted[-1] if counted else -1


def row_of(key: str, label: str) -> str:
    """A content that nobody else writes."""
    return json.dumps({"id": key, "by": label}, separators=(",", ":"))
