"""The fuzz: writers, two syncers of one pipeline, every fault there is, and the checker.

`python -m tests.chaos.fuzz --seconds 300 --seed 7` is the long form (`make chaos`); `--standby`:
the syncers read a hot standby of the writers' server.  Each round does every action once, in an
order drawn from the seed, and both proxies spoil a request now and then; at the end all faults are
off, one syncer catches up, and both sides are compared.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.actions import Actions, http_menu, postgres_menu, written
from tests.chaos.probes import Probe
from tests.chaos.verifying import Verifications
from tests.chaos.world import DATABASE, World
from tests.support import eventually
from txid_sync import ids
from txid_sync.errors import ExitCode

CHANCE_POSTGRES, CHANCE_SEARCH = 0.002, 0.01
# Ends well, taken over, killed, unreachable at the start: see docs/exit-codes.md.  A SIGTERM that
# comes before Python has its handler ends it as any program.
EXPECTED_CODES = {0, 3, 4, 6, -9, -15}
# An operator who makes an index by hand at the moment in which a syncer does has two of them.
TWO_INDICES = re.compile(r"^error: '\w+' is an alias of 2 indices", re.MULTILINE)
TAKEN_OVER = 6
FIRST_MARK_SECONDS = 120.0
TRACEBACK = re.compile(r"^Traceback", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    seed: int
    seconds: float
    work: Mapping[str, int]
    actions: Mapping[str, int]
    on_the_wire: Mapping[str, int]
    exit_codes: Mapping[int, int]
    longest_lag_seconds: float
    marks_seen: int
    versions_seen: int
    verified: Mapping[str, int]
    missing: int
    stale: int
    ghosts: int
    resurrected: int
    dead_letters: int
    problems: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing at all was wrong."""
        differences = self.missing + self.stale + self.ghosts + self.resurrected
        return differences == 0 and not self.problems

    def report(self) -> str:
        """All of it, for people."""
        codes = {str(code): count for code, count in sorted(self.exit_codes.items())}
        lines = [
            f"ran            {self.seconds:.0f} s",
            f"writers        {_listed(self.work)}",
            *(f"fault          {count:5} x {kind}" for kind, count in sorted(self.actions.items())),
            *(f"on the wire    {n:5} x {kind}" for kind, n in sorted(self.on_the_wire.items())),
            f"syncers ended  {_listed(codes)} (exit code and count)",
            f"longest lag    {self.longest_lag_seconds:.1f} s, {self.marks_seen} marks arrived",
            f"versions       {self.versions_seen} looked at, none may go back",
            *(f"verified       {n:5} x {how}" for how, n in sorted(self.verified.items())),
            f"dead letters   {self.dead_letters}",
            (f"missing {self.missing}, stale {self.stale}, ghosts {self.ghosts}, "
             f"resurrected {self.resurrected}"),
            *(f"PROBLEM        {problem}" for problem in self.problems),
            f"seed           {self.seed}",
        ]
        return "\n".join(lines)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def run(
    seconds: float, seed: int, folder: Path, standby: bool = False, kinds: Collection[str] = ()
) -> Outcome:
    """One whole run on servers of its own; logs go to the folder.

    `kinds`: nothing but these actions; all that there are, if none is named.
    """
    with World(seed, folder, standby) as world:
        probe = Probe(world)
        actions = Actions(world, probe, seed)
        verifications = Verifications(world, seed)
        begun = time.monotonic()
        world.start()
        probe.start()
        verifications.start()
        try:
            eventually(lambda: probe.marks_seen, FIRST_MARK_SECONDS)
            trouble(actions, world, seed, begun + seconds, kinds or actions.kinds)
        finally:
            actions.mend()
            world.stop()
            probe.end()
            verifications.end()
        passed = time.monotonic() - begun
        world.drain()
        verifications.last()
        return outcome(world, probe, actions, verifications, passed)


def trouble(
    actions: Actions, world: World, seed: int, until: float, kinds: Collection[str]
) -> None:
    """Rounds of all these actions; the first is finished in any case."""
    generator = random.Random(seed)
    world.http_proxy.draw(CHANCE_SEARCH, seed, http_menu(generator))
    world.postgres_proxy.draw(CHANCE_POSTGRES, seed, postgres_menu(generator))
    first = True
    while first or time.monotonic() < until:
        order = [*kinds, *["kill -9"] * 3]
        generator.shuffle(order)
        for kind in order:
            if not first and time.monotonic() >= until:
                return
            time.sleep(generator.uniform(0.0, 0.6))
            actions.do(kind)
        first = False


def outcome(
    world: World, probe: Probe, actions: Actions, verifications: Verifications, seconds: float
) -> Outcome:
    """Compare both sides, and look through everything that was noted."""
    found = world.compare()
    total = Counter[str]()
    for comparison in found["documents"]:
        for kind in ("missing", "stale", "ghosts"):
            total[kind] += comparison[kind]["count"]
        total["dead"] += comparison["dead_letters"]
    codes = world.exit_codes()
    unexpected = Counter({c: n for c, n in codes.items() if c not in EXPECTED_CODES})
    said = "\n".join(log.read_text(errors="replace") for log in world.logs)
    unexpected[ExitCode.PRECONDITION] -= len(TWO_INDICES.findall(said))
    problems = [f"exit code {code}" for code in sorted(+unexpected)]
    problems += last_words(world) if problems else []
    problems += [f"a document went back: {what}" for what in probe.went_back[:10]]
    problems += ["a traceback in a log"] if TRACEBACK.search(said) else []
    problems += ["SIGTERM did not end a syncer" for s in world.syncers if s.killed_at_stop]
    problems += verifications.problems
    problems += [] if codes[TAKEN_OVER] else ["no syncer was taken over"]
    problems += [] if found["equal"] else [f"not equal: {_where(found)}"]
    return Outcome(
        world.seed, seconds, written(world.written), actions.counts,
        world.http_proxy.counts + world.postgres_proxy.counts, codes,
        probe.longest_lag_seconds, probe.marks_seen, probe.versions_seen, verifications.counts,
        total["missing"], total["stale"], total["ghosts"],
        resurrected(world, found), total["dead"], tuple(problems),
    )  # fmt: skip


def last_words(world: World) -> list[str]:
    """The errors with which syncers have ended, each once."""
    lines = [line for log in world.logs for line in log.read_text(errors="replace").splitlines()]
    return sorted({line[:300] for line in lines if line.startswith("error: ")})


def _where(found: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{c['table']} {kind} {c[kind]['first'][:3]}"
        for c in found["documents"]
        for kind in ("missing", "stale", "ghosts")
        if c[kind]["count"]
    )


def resurrected(world: World, found: Mapping[str, Any]) -> int:
    """How many of the ghosts that are shown were committed once, so are in the change log."""
    count = 0
    session = world.postgres.connect(DATABASE)
    with session.cursor() as cursor:
        for comparison in found["documents"]:
            ghosts = [difference["id"] for difference in comparison["ghosts"]["first"]]
            if not ghosts:
                continue
            cursor.execute("select log, cardinality(key) from txid_sync.tracked"
                           " where relation = %s::regclass", (comparison["table"],))  # fmt: skip
            (log, columns), *_ = cursor.fetchall()
            arrays = ", ".join(f"k{n}" for n in range(1, columns + 1))
            cursor.execute(f"select u::text[] from txid_sync.{log}, unnest({arrays}) as k,"
                           " lateral (select array[k.*]) as u(u)")  # fmt: skip
            known = {ids.encode(tuple(key)) for (key,) in cursor.fetchall()}
            count += len(known.intersection(ghosts))
    session.close()
    return count


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--standby", action="store_true", help="let the syncers poll a standby")
    parser.add_argument("--logs", type=Path, help="a folder for the syncers' logs")
    options = parser.parse_args()
    sys.stderr.write(f"seed {options.seed}, {options.seconds:g} s\n")
    with tempfile.TemporaryDirectory() as folder:
        found = run(options.seconds, options.seed, options.logs or Path(folder), options.standby)
    sys.stdout.write(f"{found.report()}\n")
    return 0 if found.equal else 1


if __name__ == "__main__":
    sys.exit(main())
