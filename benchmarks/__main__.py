"""`python -m benchmarks [NAME ...] [--form full|short|tiny] [--record]`.

The exit code is 0 only if every figure reaches what it must; of the tiny form nothing is asked.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import Any

from benchmarks import usage
from benchmarks.report import publish, reached
from benchmarks.world import World, servers
from txid_sync.errors import TxidSyncError

NAMES = (
    "load-lean", "load-wide", "drain", "follow", "discard", "latency", "writers", "wal", "idle",
    "poll", "catch-up", "memory", "startup",
)  # fmt: skip


def module_of(name: str) -> Any:
    """The module of a benchmark: its `FORMS`, and `run`, which takes one of them."""
    return import_module(f"benchmarks.{name.replace('-', '_')}")


def main() -> int:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser("benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--form", choices=("full", "short", "tiny"), default="full")
    parser.add_argument("--record", action="store_true", help="append to history.jsonl")
    given = parser.parse_args()
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"no benchmark {min(unknown)}; there are {', '.join(NAMES)}")
    with servers(patient=given.form != "tiny") as world:
        names = given.names or NAMES
        verdicts = [measure(world, name, given.form, given.record) for name in names]
    return 0 if all(verdicts) else 1


def measure(world: World, name: str, form: str, record: bool) -> bool:
    """Run one: whether it counts and, except in the tiny form, reaches what it must."""
    module = module_of(name)
    stolen_percent = usage.stolen_percent()
    try:
        figures = module.run(world, module.FORMS[form])
    except (AssertionError, TxidSyncError) as error:
        print(f"\n{name} does not count: {error}", flush=True)
        return False
    publish(name, form, world.versions(), figures, record, stolen_percent())
    return form == "tiny" or reached(figures)


if __name__ == "__main__":
    sys.exit(main())
