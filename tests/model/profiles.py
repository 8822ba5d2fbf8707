"""The bounds within which every schedule is tried.

What each one adds, so that a broken rule shows:

| profile    | its schedules                                                                     |
|------------|-----------------------------------------------------------------------------------|
| pages      | three transactions over two rows commit in any order between pages of one key       |
| deletes    | a key without a row stands before others in the window                             |
| batches    | log rows with several keys, out of order by seq; pages end inside a log row         |
| tables     | one window over two tables                                                         |
| savepoints | txids that end early, and are not in xip                                           |
| crash      | the unflushed tail is lost, txids are handed out again, connections end             |
| restart    | the syncer dies at any step and goes on from stored progress; the server too        |
| two phase  | prepared transactions outlive a crash                                               |
| zombies    | a request whose sender died arrives later                                           |
| image      | an image of the disk put back lacks the end of a transaction that changed nothing   |
"""

from __future__ import annotations

from tests.model.world import Profile, Program


def _one(*keys: str, table: str = "a") -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((table, (key,)) for key in keys)


_BOTH = (("a", ("1",)), ("b", ("1",)))

PROFILES: dict[str, Profile] = {
    "pages": Profile(
        (
            Program(_one("1", "2"), writes=2, may_abort=False),
            Program(_one("1", "2"), writes=1, may_abort=False),
            Program(_one("1"), writes=1, may_abort=False),
        ),
        alike=False,
    ),
    "deletes": Profile(
        (Program(_one("1", "2")), Program(_one("1", "2"), deletes=True)), alike=False
    ),
    "batches": Profile(
        (
            Program((("a", ("1", "2")),), writes=1),
            Program((("a", ("2", "3")), ("a", ("1",))), writes=2),
        ),
        keys=("1", "2", "3"),
        alike=False,
    ),
    "batches of three": Profile(
        (
            Program((("a", ("1", "2")),), writes=1),
            Program((("a", ("2", "3")), ("a", ("1",))), writes=2),
        ),
        page=3,
        keys=("1", "2", "3"),
        alike=False,
    ),
    "tables": Profile((Program(_BOTH, writes=1),) * 3, tables=("a", "b"), keys=("1",)),
    "savepoints": Profile(
        (Program(_one("1", "2"), savepoint=True), Program(_one("1", "2"), writes=1)), alike=False
    ),
    "crash": Profile(
        (
            Program(_one("1"), writes=1, synchronous=False, may_abort=False),
            Program(_one("1"), writes=1, assign=True),
            Program(_one("1"), writes=1, may_abort=False),
        ),
        keys=("1",),
        crashes=1,
        alike=False,
    ),
    "restart": Profile(
        (
            Program(_one("1", "2"), writes=2, synchronous=False, may_abort=False),
            Program(_one("1"), writes=1, may_abort=False),
        ),
        crashes=1,
        restarts=1,
        alike=False,
    ),
    "two phase": Profile(
        (Program(_one("1"), writes=1, synchronous=None, two_phase=True),) * 2,
        keys=("1",),
        crashes=1,
        restarts=1,
    ),
    "zombies": Profile((Program(_one("1", "2"), writes=1),) * 2, restarts=2, zombies=True),
    "image": Profile(
        (
            Program(_one("1"), writes=1, may_abort=False),
            Program((), writes=0, assign=True),
            Program(_one("1"), writes=1, may_abort=False),
        ),
        keys=("1",),
        crashes=1,
        image=True,
        alike=False,
    ),
}
