"""Progress: the cursor as stored, with all that tells whether it may be followed.

`Progress` is a pure value; every step of the pipeline makes a new one.  `ProgressStore` keeps one
per pipeline and saves by compare-and-set: a fence that is not the last one raises TakenOver.

>>> from txid_sync.snapshot import Snapshot
>>> p = Progress(Cursor.start(Snapshot.parse("5:5:")), identity={"system": "1"})
>>> Progress.from_json(p.to_json()) == p
True
"""

from __future__ import annotations

import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from txid_sync.cursor import Cursor
from txid_sync.errors import CursorFormatError
from txid_sync.model import MAX_EPOCH
from txid_sync.share import MAX_WORKERS

FORMAT = 5

Fence = tuple[int, int]

# What is kept beside progress: how far the verifiers are, that of the command and that of `run`.
NOTES = ("verify", "background")
REPAIR = "repair"  # the name of the note that tells repairs apart


@dataclass(frozen=True, slots=True)
class DocumentProgress:
    """How far one document is.

    `table` is its name in the configuration, `relation` what the source calls it.  `load` tells
    whether a load still runs, `load_after` the last key it has written, `load_version` the version
    at its start.  `sweep_below`: documents below this version have to be looked up and removed if
    they have no row (0: no sweep is due); `sweep_asked` frees that sweep of the brake.
    `load_documents` are written by this load, `sweep_candidates` looked up by this sweep so far.
    """

    table: str
    relation: str
    fingerprint: str
    index_uuid: str
    definition: str
    load: bool = False
    load_after: tuple[str, ...] | None = None
    load_version: int = 0
    sweep_below: int = 0
    sweep_asked: bool = False
    load_documents: int = 0
    sweep_candidates: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """What was acknowledged since the pipeline's first start, over all crashes.

    A page that had to be sent again counts once for each time that progress moved over it.
    """

    documents: int = 0
    pages: int = 0
    dead_letters: int = 0

    def plus(self, documents: int, dead_letters: int) -> Counts:
        """These counts after one more page."""
        return Counts(
            self.documents + documents, self.pages + 1, self.dead_letters + dead_letters
        )


@dataclass(frozen=True, slots=True)
class Marker:
    """What was written into the source last, at rest, and the highest version counted then.

    `repair` is what was noted of the last repair before.
    """

    nonce: str
    version: int
    repair: str = ""

    def to_value(self) -> dict[str, Any]:
        """As it is stored."""
        return {name: value for name, value in asdict(self).items() if value != ""}


@dataclass(frozen=True, slots=True)
class Progress:
    """All that a pipeline has to know to go on after a crash.

    `place` is how far the source had come in what was acknowledged, if it can go back by itself (a
    standby; else 0).  `closed`: nothing was sent since the marker was written, nobody is at work.

    `workers` says how many share the keys.  What is stored under the pipeline's own name tells how
    many there are now; of several it is the base from which each of them began, and each keeps its
    own progress under the name of its share, with the fence of that `base`.
    """

    cursor: Cursor
    identity: Mapping[str, str]
    epoch: int = 1
    highest_version: int = 0
    documents: Mapping[str, DocumentProgress] = field(default_factory=dict)
    acknowledged: Counts = Counts()
    place: int = 0
    marker: Marker | None = None
    closed: bool = False
    workers: int = 1
    base: Fence | None = None

    def with_document(self, name: str, **changes: Any) -> Progress:
        """This progress with some fields of one document changed."""
        changed = replace(self.documents[name], **changes)
        return replace(self, documents={**self.documents, name: changed})

    def to_json(self) -> str:
        """Byte-stable JSON: equal progress gives equal text."""
        documents = {
            name: {
                f: getattr(d, f)
                for f in DocumentProgress.__slots__
                if f not in _ABSENT_IF_0 or getattr(d, f)
            }
            for name, d in self.documents.items()
        }
        value = {
            "format": FORMAT,
            "cursor": self.cursor.to_dict(),
            "identity": dict(self.identity),
            "epoch": self.epoch,
            "highest_version": self.highest_version,
            "documents": documents,
            "acknowledged": asdict(self.acknowledged),
            "place": self.place,
            "marker": self.marker.to_value() if self.marker else None,
            "closed": self.closed,
            "workers": self.workers,
            "base": self.base,
        }
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Progress:
        """Read what `to_json` wrote; raises CursorFormatError on anything else."""
        try:
            return cls._from_value(json.loads(text))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CursorFormatError(
                f"stored progress cannot be read: {error!r}",
                "use the program version that wrote it, or resync",
            ) from None

    @classmethod
    def _from_value(cls, value: Any) -> Progress:
        if value["format"] == 1 and "acknowledged" not in value:
            value = {**value, "format": 2, "acknowledged": asdict(Counts())}
        if value["format"] == 2 and "place" not in value:
            value = {**value, "format": 3, "place": 0}
        if value["format"] == 3 and "marker" not in value:
            value = {**value, "format": 4, "marker": None, "closed": False}
        if value["format"] == 4 and "workers" not in value:
            value = {**value, "format": FORMAT, "workers": 1, "base": None}
        if set(value) != _NAMES or value["format"] != FORMAT:
            raise ValueError(f"fields {sorted(value)}, format {value.get('format')!r}")
        epoch, highest, place = value["epoch"], value["highest_version"], value["place"]
        if type(place) is not int or place < 0:
            raise ValueError(f"place {place!r}")
        if type(epoch) is not int or type(highest) is not int or not 0 < epoch <= MAX_EPOCH:
            raise ValueError(f"epoch {epoch!r}, highest version {highest!r}")
        identity = {str(k): str(v) for k, v in value["identity"].items()}
        documents = {name: _document(d) for name, d in value["documents"].items()}
        counts, marker = _counts(value["acknowledged"]), _marker(value["marker"])
        if type(value["closed"]) is not bool:
            raise TypeError(f"closed is {value['closed']!r}")
        return cls(
            Cursor.from_dict(value["cursor"]), identity, epoch, highest, documents, counts, place,
            marker, value["closed"], *_workers(value["workers"], value["base"]),
        )  # fmt: skip


_NAMES = {
    "format", "cursor", "identity", "epoch", "highest_version", "documents", "acknowledged",
    "place", "marker", "closed", "workers", "base",
}  # fmt: skip
_TYPES = {
    "table": str,
    "relation": str,
    "fingerprint": str,
    "index_uuid": str,
    "definition": str,
    "load": bool,
    "load_version": int,
    "sweep_below": int,
    "sweep_asked": bool,
}
_ABSENT_IF_0 = ("load_documents", "sweep_candidates")


def _counts(value: Any) -> Counts:
    for name in Counts.__slots__:
        if type(value[name]) is not int or value[name] < 0:
            raise ValueError(f"acknowledged {name}: {value[name]!r}")
    return Counts(**value)


def _marker(value: Any) -> Marker | None:
    if value is None:
        return None
    texts = type(value["nonce"]), type(value.get("repair", ""))
    if texts != (str, str) or type(value["version"]) is not int:
        raise TypeError(f"marker is {value!r}")
    return Marker(**value)


def _workers(workers: Any, base: Any) -> tuple[int, Fence | None]:
    if type(workers) is not int or not 1 <= workers <= MAX_WORKERS:
        raise ValueError(f"workers {workers!r}")
    if base is None:
        return workers, None
    if not isinstance(base, list) or [type(number) for number in base] != [int, int]:
        raise ValueError(f"base {base!r}")
    return workers, (base[0], base[1])


def _document(value: Any) -> DocumentProgress:
    for name, kind in _TYPES.items():
        if type(value[name]) is not kind:
            raise TypeError(f"{name} is {value[name]!r}")
    for name in _ABSENT_IF_0:
        if type(value.get(name, 0)) is not int or value.get(name, 0) < 0:
            raise TypeError(f"{name} is {value[name]!r}")
    after = value["load_after"]
    if after is not None:
        if not isinstance(after, list) or not all(isinstance(key, str) for key in after):
            raise TypeError(f"load_after is {type(after).__name__}")
        value = {**value, "load_after": tuple(after)}
    return DocumentProgress(**value)


def fresh_nonce() -> str:
    """A text that was never a marker, nor the note of a repair, before."""
    return secrets.token_hex(8)


class ProgressStore(ABC):
    """Keeps the progress of pipelines, one each, by compare-and-set."""

    @abstractmethod
    def load(self, pipeline: str) -> tuple[Progress, Fence] | None:
        """The stored progress and the fence that its next save must name; None if there is none."""

    @abstractmethod
    def save(self, pipeline: str, progress: Progress, fence: Fence | None) -> Fence:
        """Store it if the fence is still the last one (None: nothing may be stored yet).

        Returns the new fence; raises TakenOver otherwise, SinkUnavailable if it is not known
        whether it was stored.
        """

    @abstractmethod
    def delete(self, pipeline: str) -> None:
        """Forget a pipeline with its notes; nothing happens if there is none."""

    @abstractmethod
    def note(self, pipeline: str, name: str, text: str) -> None:
        """Keep a text beside the progress of a pipeline, under a name of `NOTES` or `REPAIR`; ""
        removes it.

        The last one stays: nothing is compared.
        """

    @abstractmethod
    def recall(self, pipeline: str, name: str) -> str:
        """The text that was kept under this name, "" if there is none."""
