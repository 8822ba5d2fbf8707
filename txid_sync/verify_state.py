"""How far a verification is and what it has found, as plain values that survive a process.

>>> found = Findings("orders"); found.add("missing", "7"); found.differences
1
>>> Pass.from_json(Pass(["orders"], 0.0, {"orders": found}).to_json()).findings["orders"] == found
True
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

SHOWN = 10
KINDS = ("missing", "stale", "ghosts", "dead", "unsettled")
DIFFERENT = ("missing", "stale", "ghosts")
STAGES = ("rows", "index", "suspects")


@dataclass(slots=True)
class Findings:
    """What was found of one document.

    `rows` and `documents` were compared.  missing: rows without a document; stale: documents with
    other content than their row; ghosts: documents without a row; dead: refused by source or sink
    and listed as dead letters; unsettled: keys that were written to whenever they were looked at,
    or whose changes the pipeline has not read.  `first` are the first ids of each kind.
    """

    document: str
    rows: int = 0
    documents: int = 0
    missing: int = 0
    stale: int = 0
    ghosts: int = 0
    dead: int = 0
    unsettled: int = 0
    repaired: int = 0
    first: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, id: str) -> None:
        """Count a document of a kind, and keep the first few ids."""
        setattr(self, kind, getattr(self, kind) + 1)
        ids = self.first.setdefault(kind, [])
        if len(ids) < SHOWN:
            ids.append(id)

    @property
    def differences(self) -> int:
        """How many documents differed."""
        return self.missing + self.stale + self.ghosts

    @property
    def left(self) -> int:
        """How many of them were not repaired."""
        return self.differences - self.repaired


@dataclass(slots=True)
class Pass:
    """A walk over all documents: the rows of each, in the order of the key, then its index.

    `stage` is what of the present document is under way: rows, index, or only suspects are left.
    `after` is the last key read, `place` where the index goes on, `suspects` are ids that are not
    settled yet.  `begun_at` is seconds since 1970; `settings` tells what it was begun for.
    """

    names: list[str]
    begun_at: float
    findings: dict[str, Findings] = field(default_factory=dict)
    at: int = 0
    stage: str = "rows"
    after: list[str] | None = None
    place: str = ""
    suspects: list[str] = field(default_factory=list)
    settings: str = ""

    @property
    def document(self) -> str | None:
        """The document that is being compared; None at the end."""
        return self.names[self.at] if self.at < len(self.names) else None

    @property
    def found(self) -> Findings:
        """The findings of the present document."""
        name = self.names[self.at]
        return self.findings.setdefault(name, Findings(name))

    @property
    def left(self) -> int:
        """Differences that were not repaired, in all documents."""
        return sum(found.left for found in self.findings.values())

    @property
    def unsettled(self) -> int:
        """Keys that could not be settled, in all documents."""
        return sum(found.unsettled for found in self.findings.values())

    def next_document(self) -> None:
        """Go on to the next document."""
        self.at += 1
        self.stage, self.after, self.place, self.suspects = STAGES[0], None, "", []

    def to_json(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Pass | None:
        """What `to_json` wrote; None for anything else: then a verification begins anew."""
        try:
            value: dict[str, Any] = json.loads(text)
            findings = {name: Findings(**found) for name, found in value.pop("findings").items()}
            made = cls(**value, findings=findings)
            fits = made.stage in STAGES and 0 <= made.at <= len(made.names)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        return made if fits else None


@dataclass(slots=True)
class Note:
    """What a verifier keeps beside progress: the pass under way, and the last one that ended."""

    current: Pass | None = None
    last: Pass | None = None
    ended_at: float = 0.0

    def to_json(self) -> str:
        """As it is stored."""
        parts = {
            "current": self.current.to_json() if self.current else "",
            "last": self.last.to_json() if self.last else "",
            "ended_at": self.ended_at,
        }
        return json.dumps(parts)

    @classmethod
    def from_json(cls, text: str) -> Note:
        """What `to_json` wrote; anything else is an empty note."""
        try:
            value = json.loads(text)
            return cls(
                Pass.from_json(value["current"]), Pass.from_json(value["last"]),
                float(value["ended_at"]),
            )  # fmt: skip
        except (ValueError, TypeError, KeyError):
            return cls()
