"""`python -m benchmarks [page|end-to-end ...]`: exit 0 only if every figure is reached."""

from __future__ import annotations

import sys

from benchmarks import endtoend, page
from benchmarks.world import servers

ROWS = 200_000
BENCHMARKS = {"page": page.run, "end-to-end": endtoend.run}


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"no benchmark {sorted(unknown)[0]}; there are {', '.join(BENCHMARKS)}")
        return 2
    with servers(ROWS) as where:
        reached = [BENCHMARKS[name](where, ROWS) for name in names or BENCHMARKS]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
