"""What has ended on a hot standby, where snapshots do not show it.  Pure.

Theory
------
A server in recovery prints snapshots whose `xip` is always empty: transactions that are still open
on the primary look finished.  Its `xmin` and `x1` (the printed xmax) are right, and so is
`txid_status`: it says 'in progress' until the end of a transaction has been replayed, and from then
on every new snapshot shows that end.  So, with R = the txids of [xmin, x1) that are in progress,
asked **before** a page is read,

    F = {x < x1} minus R        is contained in what the page's own snapshot M shows: F <= F(M).

F takes the place of the snapshot: it opens and closes windows (a transaction in F is visible to
the page), and clock(F) = x1 - len(R) is the page's version, a lower bound of its true clock.

Why that version is good enough: F only grows (an end that was replayed stays replayed), so versions
never fall in the order of reading.  Let page B be read after page A, and see the end of t, which A
did not see.  If t is in F(B), then t is not in F(A), since F(A) <= F(M(A)): clock(F(A)) <
clock(F(B)), and B wins over A wherever both arrive.  If t is not in F(B), t ended between B's
question and B's page; then B may have the version of A with newer content, and t is not counted
as done by B's window: its keys are read again under a version that counts t.

Rules
-----
1. The question comes before the page, never after it or in its snapshot.
2. `xip` of the printed snapshot is never used, nor is its emptiness.
3. What was in F stays in F on the same server: only the txids not in the last F are asked about.
   Below `xmin` nothing is in progress.
4. One question asks about at most `limit` txids; F then ends at `to` < x1 and the next question
   goes on from there.  F is complete when `to` = x1.
5. A server may come back (crash, another standby) at an earlier place of the same WAL: nothing is
   asked or read until the place of the last page is replayed again, nor until F contains all that
   is done.
6. Pages of equal versions may differ: they are not under way together.
7. A page counts only if the server was still in recovery after its snapshot was taken.
8. Whoever answers is of the same history if it is the same running server (it only goes forward,
   over a change of timeline too), or another one on the same timeline, if both timelines are known.
   A primary and a standby are never of the same history: the end of the recovery lies between them.
9. A standby cannot be written to, so no marker is (continuity.py, rule 5): nothing proves to
   another server, nor to itself after its promotion, that what was read from it is still there.

| last F        | xmin : x1 | asked about (to, in order)       | in progress | F after         |
|---------------|-----------|----------------------------------|-------------|-----------------|
| none          | 10 : 14   | 10, 11, 12, 13                   | 10, 12      | {<14} - 10, 12  |
| {<14} - 10,12 | 10 : 16   | 10, 12, 14, 15                   | 10, 15      | {<16} - 10, 15  |
| {<16} - 10,15 | 15 : 16   | 15                               | none        | {<16}           |
| {<16}         | 20 : 20   | nothing                          | none        | {<20}           |
| {<16}         | 16 : 30   | 16 to 19, with a limit of 4      | 16          | {<20} - 16      |

>>> f = finished(Answer(xmin=10, x1=14, to=14, running=(10, 12))); str(f)
'10:14:10,12'
>>> question(f, limit=100)
Question(open=(10, 12), start=14, limit=100)
>>> f = finished(Answer(10, 16, 16, (10, 15))); str(f), f.clock
('10:16:10,15', 14)
>>> str(finished(Answer(16, 30, 20, (16,)))), Answer(16, 30, 20, (16,)).complete
('16:20:16', False)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from txid_sync.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Question:
    """Which txids to ask about: those in `open`, and from `start` (or xmin, if that is greater)
    on up to x1, at most `limit` of them."""

    open: tuple[int, ...]
    start: int
    limit: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the standby said: xmin and xmax of its snapshot, the bound (exclusive) up to which it
    was asked, and which of the txids asked about were in progress."""

    xmin: int
    x1: int
    to: int
    running: tuple[int, ...]

    @property
    def complete(self) -> bool:
        """Whether everything below x1 was asked about (rule 4)."""
        return self.to >= self.x1


def question(known: Snapshot | None, limit: int) -> Question:
    """What has to be asked when `known` is the last F of this server (None: nothing is known)."""
    if known is None:
        return Question((), 0, limit)
    return Question(known.xip, known.xmax, limit)


def asked(question: Question, xmin: int, x1: int) -> tuple[list[int], int]:
    """The txids that a question means under this snapshot, and `to` (rules 3 and 4).

    The same as the statement that asks a server; here for models and tests.
    """
    start = max(question.start, xmin)
    to = max(start, min(x1, start + question.limit))
    return [*(x for x in question.open if x >= xmin), *range(start, to)], to


def finished(answer: Answer) -> Snapshot:
    """F: every txid below `to` but the running ones."""
    return Snapshot.of(answer.to, tuple(sorted(answer.running)))


def same_history(known: Mapping[str, str], found: Mapping[str, str]) -> bool:
    """Whether what was read by one identity can be continued by the other (rule 8).

    The identity of a primary has no role; nothing in it may differ.
    """
    if dict(known) == dict(found):
        return True
    if not _are_standbys_of_one_database(known, found):
        return False
    same_timeline = known["timeline"] == found["timeline"] != ""
    return known["server"] == found["server"] or same_timeline


def may_be_marked(identity: Mapping[str, str]) -> bool:
    """Whether a marker can be written there (rule 9)."""
    return identity.get("role") != "standby"


def may_be_same_history(known: Mapping[str, str], found: Mapping[str, str]) -> bool:
    """Whether the timeline of the other standby, which does not show it yet, is going to tell."""
    one = _are_standbys_of_one_database(known, found)
    return one and known["timeline"] != "" and found["timeline"] == ""


def _are_standbys_of_one_database(known: Mapping[str, str], found: Mapping[str, str]) -> bool:
    return known.get("role") == found.get("role") == "standby" and all(
        known[name] == found[name] for name in ("system_identifier", "database_oid")
    )
