"""How much is measured, and what measures give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.peers.figures import Claim

Values = Mapping[Claim, float]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done."""

    warming_loads: int  # at the most
    rounds: int
    load: int  # rows of a load
    rows: int  # rows of the tables of everything else
    offline: int  # changes while the contender is stopped
    outage: int  # the same, when it was stopped for longer
    samples: int  # of the latency
    seconds: float  # that writers write
    idle_seconds: float
    kills: int


FORMS = {
    "full": Sizes(10, 3, 200_000, 50_000, 20_000, 200_000, 80, 6, 20, 4),
    "short": Sizes(24, 1, 50_000, 20_000, 20_000, 80_000, 40, 3, 8, 2),
    "tiny": Sizes(1, 1, 2_000, 500, 500, 1_500, 3, 1, 1, 1),
}
