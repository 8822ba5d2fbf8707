"""What the answers to a bulk request mean.  Pure: no I/O, no clock of the wall.

A bulk request is answered twice: once as a whole (its HTTP status), and, if that is 200, once per
action.  HTTP 200 alone says nothing about any single action.

`ITEM_CASES` and `REQUEST_CASES` are the tables of what to do; the first case that fits counts.
docs/sink-errors.md shows them, and a test keeps the two equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

MAX_REASON_CHARS = 1000

# What to ask of an answer: the order and number of its items have to stay.
BULK_FIELDS = ",".join(
    ["errors", "took", "items.*.status", "items.*.error.type", "items.*.error.reason"]
    + [f"items.*.error.caused_by.{name}" for name in ("type", "reason")]
)

_HEAD_BYTES = 64
_CURRENT = re.compile(r"current version \[(\d+)\]")


class Outcome(Enum):
    """What to do about one action, or about a whole request."""

    DONE = auto()
    CONFLICT = auto()
    RETRY = auto()
    BLOCKED = auto()
    DEAD = auto()
    STOP = auto()
    MISSING_INDEX = auto()
    ANSWERED = auto()
    SPLIT = auto()
    UNKNOWN = auto()


class AnswerError(ValueError):
    """The answer is no complete answer to this request: what was applied is not known."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An action that is not simply done: its place in the request, what to do, and why."""

    place: int
    outcome: Outcome
    reason: str

    @property
    def current_version(self) -> int:
        """The version that the sink holds, told by a CONFLICT; 0 if it does not tell."""
        return current_version(self.reason)


@dataclass(frozen=True, slots=True)
class Action:
    """One action of a request: its operation, its id, and its bytes (one or two lines)."""

    operation: str
    id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Case:
    """A row of a table: an answer fits if all that is given here fits.

    `statuses` empty means any; `types` empty means any, and "" in it means no error is told;
    "*" means any error that the sink itself names.
    """

    outcome: Outcome
    statuses: Container[int] = ()
    types: tuple[str, ...] = ()
    reason: str = ""
    operation: str = ""
    why: str = ""

    def fits(self, status: int, error_type: str, reason: str, operation: str = "") -> bool:
        """Whether an answer is of this case."""
        return bool(
            (self.statuses == () or status in self.statuses)
            and (not self.types or error_type in self.types or ("*" in self.types and error_type))
            and self.reason in reason
            and self.operation in ("", operation)
        )


_BLOCKS = ("cluster_block_exception",)
_ILLEGAL = ("illegal_argument_exception",)

ITEM_CASES = (
    Case(Outcome.DONE, range(200, 300), ("",)),
    Case(Outcome.DONE, (404,), ("",), operation="delete", why="it was gone already"),
    Case(
        Outcome.CONFLICT,
        (409,),
        ("version_conflict_engine_exception",),
        why="a newer version is there",
    ),
    Case(Outcome.MISSING_INDEX, (404,), ("index_not_found_exception",), why="resync"),
    Case(Outcome.BLOCKED, (), _BLOCKS, why="the disk is full, or an operator locked the index"),
    Case(Outcome.BLOCKED, (), ("index_closed_exception",), why="not the document's fault"),
    Case(Outcome.STOP, (400,), _ILLEGAL, "no write index", why="true of every document"),
    Case(Outcome.STOP, (400,), ("routing_missing_exception",), why="true of every document"),
    Case(Outcome.STOP, (401, 403), why="rights are missing"),
    Case(Outcome.DEAD, (400, 413), why="this document is refused for good"),
    Case(Outcome.RETRY, why="refused for now; in the end the page expires"),
)

REQUEST_CASES = (
    Case(Outcome.ANSWERED, (200,), why="every action has its own answer"),
    Case(Outcome.STOP, (405, 406, 415), why="no such sink"),
    Case(Outcome.STOP, (400,), _ILLEGAL, "unrecognized parameter", why="a sink too old"),
    Case(Outcome.SPLIT, (413,), why="too large in one piece"),
    Case(Outcome.SPLIT, (400,), ("*",), why="one bad action refuses them all"),
    Case(Outcome.MISSING_INDEX, (404,), ("index_not_found_exception",), why="resync"),
    Case(Outcome.BLOCKED, (), _BLOCKS, why="no master, recovering, or locked"),
    Case(Outcome.STOP, (401, 403), why="rights are missing"),
    Case(Outcome.RETRY, (429, 500, 503), ("*",), why="a refusal in the sink's own words"),
    Case(Outcome.UNKNOWN, why="a proxy's answer, say: nobody knows what was applied"),
)


def item_outcome(status: int, error_type: str, reason: str, operation: str) -> Outcome:
    """What to do about one action."""
    return next(c.outcome for c in ITEM_CASES if c.fits(status, error_type, reason, operation))


def request_outcome(status: int, error_type: str, reason: str = "") -> Outcome:
    """What to do about a request as a whole."""
    return next(c.outcome for c in REQUEST_CASES if c.fits(status, error_type, reason))


def current_version(reason: str) -> int:
    """The version in the reason of a version conflict, 0 if there is none.

    >>> current_version("[7]: version conflict, current version [12] is higher than ...")
    12
    """
    found = _CURRENT.search(reason)
    return int(found[1]) if found else 0


def error_of(body: bytes) -> tuple[str, str]:
    """(type, reason) of a refused request; type is empty if the body is not the sink's JSON."""
    try:
        error = json.loads(body)["error"]
        return _error(error) if isinstance(error, dict) else ("", str(error)[:MAX_REASON_CHARS])
    except (ValueError, KeyError, TypeError):
        return "", ""


def refusals(body: bytes, actions: int) -> Sequence[Refusal]:
    """The actions of a 200 answer that are not done, in order; empty if all are.

    A clean answer is not parsed.  Raises AnswerError if this is no complete answer to that
    many actions.
    """
    if b'"errors":false' in body[:_HEAD_BYTES]:
        if body.count(b'"status":') != actions or not body.rstrip().endswith(b"}"):
            raise AnswerError(f"the answer does not speak of all {actions} actions")
        return ()
    items = _items(body)
    if len(items) != actions:
        raise AnswerError(f"the answer has {len(items)} items for {actions} actions")
    found = (_refusal(place, item) for place, item in enumerate(items))
    return [refusal for refusal in found if refusal.outcome is not Outcome.DONE]


def _items(body: bytes) -> Sequence[Any]:
    try:
        items = json.loads(body)["items"]
    except (ValueError, KeyError, TypeError) as error:
        raise AnswerError(f"the answer is no bulk answer: {type(error).__name__}") from None
    if not isinstance(items, list):
        raise AnswerError("the answer's items are no list")
    return items


def _refusal(place: int, item: dict[str, Any]) -> Refusal:
    try:
        ((operation, value),) = item.items()
        status = int(value["status"])
        kind, reason = _error(value["error"]) if "error" in value else ("", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise AnswerError(f"item {place} of the answer is no item") from None
    outcome = item_outcome(status, kind, reason, operation)
    return Refusal(place, outcome, f"{status} {kind}: {reason}")


def _error(error: dict[str, Any]) -> tuple[str, str]:
    kind = str(error.get("type", "")) or "unnamed"
    reason = str(error.get("reason", ""))
    cause = error.get("caused_by")
    if isinstance(cause, dict) and cause.get("reason"):
        reason += f"; caused by {cause.get('type', '')}: {cause['reason']}"
    return kind, reason[:MAX_REASON_CHARS]


def actions_of(body: bytes) -> Iterator[Action]:
    """The actions of a request body, in order; raises ValueError if it is not well formed."""
    lines = iter(body.split(b"\n"))
    for line in lines:
        if not line:
            continue
        ((operation, head),) = json.loads(line).items()
        data = line + b"\n"
        if operation != "delete":
            source = next(lines, None)
            if not source:
                raise ValueError("an action has no document")
            data += source + b"\n"
        yield Action(operation, head["_id"], data)
