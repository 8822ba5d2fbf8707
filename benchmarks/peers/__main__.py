"""`python -m benchmarks.peers [MEASURE ...] [--form full|short|tiny] [--record]`.

The contenders take turns on the same servers; each begins each measure with a fresh database and an
empty index.  The exit code is 0 only if every claim is reached; of the tiny form nothing is asked.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.peers import rows
from benchmarks.peers.arena import arena
from benchmarks.peers.bulk import catch_up, load, outage
from benchmarks.peers.contenders import ALL, LOADERS, ROOT, Contender, TxidSync
from benchmarks.peers.figures import Claim, Line, recorded, table
from benchmarks.peers.live import idle, latency, stream, writers
from benchmarks.peers.losses import losses
from benchmarks.peers.site import Site, site
from benchmarks.peers.sizes import FORMS, Sizes, Values
from benchmarks.usage import until_compiled
from txid_sync.dev.processes import ServerError
from txid_sync.errors import TxidSyncError

Measure = Callable[[Site, type[Contender], Sizes], Values]
MEASURES: dict[str, Measure] = {
    "load": load, "catch-up": catch_up, "outage": outage, "stream": stream,
    "latency": latency, "idle": idle, "writers": writers, "losses": losses,
}  # fmt: skip
PAGE = ROOT / "docs" / "comparison.md"


def warm(place: Site, sizes: Sizes) -> int:
    """Loads that do not count: the first of a Java process run at a fraction of its later speed.

    Gives the bytes of a row.
    """
    until_compiled(place.search.pid, lambda: load(place, TxidSync, sizes), sizes.warming_loads)
    with arena(place, TxidSync, 1000) as made:
        (found,) = made.value(rows.BYTES)
    return int(found)


def lines_of(
    place: Site, measure: Measure, sizes: Sizes, only: Sequence[str] = ()
) -> tuple[list[Line], list[str]]:
    """All rounds of a measure; who comes first changes.  A contender that does not come to the end
    of a round has no figures, but a note; of ours that is an error."""
    found: dict[Claim, dict[str, list[float]]] = {}
    failed: dict[str, str] = {}
    able = LOADERS if measure is load else ALL
    kinds = tuple(kind for kind in able if not only or kind.name in only)
    for n in range(sizes.rounds):
        for kind in kinds[n % len(kinds) :] + kinds[: n % len(kinds)]:
            try:
                values = {} if kind.name in failed else measure(place, kind, sizes)
            except (AssertionError, ServerError) as error:
                if kind is TxidSync:
                    raise
                failed[kind.name], values = str(error), {}
            for claim, value in values.items():
                found.setdefault(claim, {}).setdefault(kind.name, []).append(value)
    lines = [
        Line(claim, {name: kept for name, kept in values.items() if name not in failed})
        for claim, values in found.items()
    ]
    what = measure.__name__.replace("_", "-")
    return lines, [f"{what}: {name} did not come to its end: {failed[name]}" for name in failed]


def machine() -> str:
    """In few words."""
    gigabytes = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    return f"{os.cpu_count()} cores, {platform.machine()}, {gigabytes} GB"


def own_versions() -> dict[str, str]:
    """Of Python, and of this tree."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return {"Python": platform.python_version(), "txid-sync": done.stdout.strip() or "unknown"}


def main() -> int:
    """Run the named measures, or all; tables as they come, one JSON line in the end."""
    parser = argparse.ArgumentParser("benchmarks.peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="MEASURE", help=", ".join(MEASURES))
    parser.add_argument("--form", choices=FORMS, default="full")
    parser.add_argument("--only", action="append", choices=[kind.name for kind in ALL])
    parser.add_argument("--record", action="store_true", help="put the table into the docs")
    given = parser.parse_args()
    if unknown := set(given.names) - set(MEASURES):
        parser.error(f"no measure {min(unknown)}; there are {', '.join(MEASURES)}")
    sizes, lines, notes = FORMS[given.form], [], []
    names = [kind.name for kind in ALL if not given.only or kind.name in given.only]
    with site() as place:
        row_bytes = warm(place, sizes)
        versions = {**place.versions(), **own_versions()}
        print(f"{machine()}; {versions}; rows of {row_bytes} bytes", flush=True)
        for name in given.names or MEASURES:
            found, noted = lines_of(place, MEASURES[name], sizes, given.only or ())
            print("\n".join(["", *table(found, names), *noted]), flush=True)
            lines += found
            notes += noted
    whole = {
        "benchmark": "peers", "form": given.form, "machine": machine(), "row bytes": row_bytes,
        "when": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions,
        "command": " ".join(["python -m benchmarks.peers", *sys.argv[1:]]),
        "load average": os.getloadavg()[1],
        "figures": [line.json() for line in lines], "notes": notes,
    }  # fmt: skip
    results = [*table(lines, names), "", *notes]
    print("\n".join(["", *results, "", json.dumps(whole)]))
    if given.record:
        PAGE.write_text(recorded(PAGE.read_text(), [headline(whole), "", *results]))
    wrong = [line for line in lines if line.reached is False]
    return 0 if given.form == "tiny" or not wrong else 1


def headline(whole: Mapping[str, Any]) -> str:
    """What was run, when and where, in a sentence."""
    versions = ", ".join(f"{name} {number}" for name, number in whole["versions"].items())
    return (
        f"`{whole['command']}`, {whole['when'][:10]}, {whole['machine']}, rows of"
        f" {whole['row bytes']} bytes, load average {whole['load average']:.0f}; {versions}:"
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TxidSyncError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
