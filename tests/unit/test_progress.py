"""Progress: what is stored is what was; nothing damaged is followed."""

from __future__ import annotations

import doctest
import json
from dataclasses import replace
from typing import Any

import pytest

from txid_sync.cursor import Cursor, Position
from txid_sync.errors import CursorFormatError
from txid_sync.progress import base
from txid_sync.progress.base import Counts, DocumentProgress, Marker, Progress
from txid_sync.snapshot import Snapshot

PROGRESS = Progress(
    Cursor.start(Snapshot.parse("5:9:5")).after(
        Snapshot.parse("9:9:"), Position("a", 5, 1, 1), full=True, rest=()
    ),
    identity={"system_identifier": "1", "timeline": "00000001"},
    epoch=2,
    highest_version=7,
    documents={"a": DocumentProgress("t", "16384", "f", "u", "d", True, ("1", "é"), 3, 4, True)},
    acknowledged=Counts(7, 3, 1),
)
# The fields that came with the third, the fourth and the fifth format.
PLACE, MARKER, WORKERS = ("place",), ("marker", "closed"), ("workers", "base")


def test_doctests() -> None:
    """The cases in the module's docstring are true."""
    assert doctest.testmod(base).failed == 0


def test_stored_progress_comes_back_equal_and_byte_stable() -> None:
    """Reading gives an equal value, and that gives the same text."""
    again = Progress.from_json(PROGRESS.to_json())
    assert again == PROGRESS
    assert again.to_json() == PROGRESS.to_json()


def test_counts_of_load_and_sweep_are_kept_only_while_they_run() -> None:
    """A count comes back as it was; one of 0 is not in the text, so that older programs read it."""
    assert "load_documents" not in PROGRESS.to_json()
    assert "sweep_candidates" not in PROGRESS.to_json()
    counting = PROGRESS.with_document("a", load_documents=7, sweep_candidates=2**40)
    assert Progress.from_json(counting.to_json()) == counting


def test_changing_one_document_leaves_the_rest() -> None:
    """`with_document` gives a new value; the old one is as it was."""
    changed = PROGRESS.with_document("a", load=False)
    assert PROGRESS.documents["a"].load
    assert not changed.documents["a"].load
    assert changed.cursor == PROGRESS.cursor


@pytest.mark.parametrize(
    ("path", "new"),
    [
        ("format", 9), ("format", None), ("cursor", None), ("cursor", {}), ("identity", None),
        ("identity", []), ("epoch", 0), ("epoch", 2**15), ("epoch", True), ("epoch", "1"),
        ("highest_version", "1"), ("highest_version", None), ("documents", None),
        ("documents.a", None), ("documents.a", {}), ("documents.a.relation", 1),
        ("documents.a.load", 1), ("documents.a.load_after", "x"), ("documents.a.load_after", [1]),
        ("documents.a.load_version", True), ("documents.a.sweep_below", None),
        ("documents.a.extra", 1), ("extra", 1), ("acknowledged", None), ("acknowledged", {}),
        ("acknowledged.documents", -1), ("acknowledged.pages", True), ("acknowledged.extra", 1),
        ("format", 1), ("format", 2), ("format", 3), ("format", 4), ("place", -1), ("place", "1"),
        ("marker", 1), ("marker", {"nonce": "n"}), ("marker", {"nonce": "n", "version": "1"}),
        ("marker", {"nonce": 1, "version": 1}), ("closed", 1), ("workers", 0), ("workers", 129),
        ("workers", "2"), ("base", [1]), ("base", [1, "2"]), ("base", 5),
        ("documents.a.load_documents", -1),
        ("documents.a.load_documents", True), ("documents.a.sweep_candidates", "1"),
    ],
)  # fmt: skip
def test_F19_every_damaged_field_is_refused(path: str, new: object) -> None:
    """Damaged progress raises CursorFormatError; nothing is guessed."""
    value: dict[str, Any] = json.loads(PROGRESS.to_json())
    at = value
    *outer, last = path.split(".")
    for name in outer:
        at = at[name]
    at[last] = new
    with pytest.raises(CursorFormatError):
        Progress.from_json(json.dumps(value))


def test_progress_of_the_first_format_is_read() -> None:
    """Progress stored before counts were kept is followed, and counts begin at 0."""
    value = json.loads(PROGRESS.to_json())
    for newer in ("acknowledged", *PLACE, *MARKER, *WORKERS):
        del value[newer]
    found = Progress.from_json(json.dumps({**value, "format": 1}))
    assert found == replace(PROGRESS, acknowledged=Counts())


def test_progress_of_the_second_format_is_read() -> None:
    """Progress stored before places were kept is followed; it knows of no place."""
    value = json.loads(PROGRESS.to_json())
    for newer in (*PLACE, *MARKER, *WORKERS):
        del value[newer]
    assert Progress.from_json(json.dumps({**value, "format": 2})) == replace(PROGRESS, place=0)


def test_progress_of_the_third_format_is_read() -> None:
    """Progress stored before there were markers is followed, and proves nothing."""
    value = json.loads(replace(PROGRESS, marker=Marker("n", 7), closed=True).to_json())
    for newer in (*MARKER, *WORKERS):
        del value[newer]
    found = Progress.from_json(json.dumps({**value, "format": 3}))
    assert found == PROGRESS
    assert (found.marker, found.closed) == (None, False)


def test_progress_of_the_fourth_format_is_read() -> None:
    """Progress stored before there were workers is that of a single one; its marker is kept."""
    marked = replace(PROGRESS, marker=Marker("n", 7), closed=True)
    value = json.loads(marked.to_json())
    for newer in WORKERS:
        del value[newer]
    found = Progress.from_json(json.dumps({**value, "format": 4}))
    assert found == marked
    assert (found.workers, found.base) == (1, None)


def test_the_base_of_a_worker_is_kept() -> None:
    """How many share the keys, and from which base a worker began, are read back."""
    shared = replace(PROGRESS, workers=3, base=(7, 1))
    assert Progress.from_json(shared.to_json()) == shared


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "1", "{}", b"\xff"])
def test_what_is_no_progress_is_refused(text: str | bytes) -> None:
    """Foreign or truncated text raises CursorFormatError."""
    with pytest.raises(CursorFormatError):
        Progress.from_json(text)
