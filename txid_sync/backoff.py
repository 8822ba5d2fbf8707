"""How long to wait before trying again: full jitter, as a pure function.

The bound doubles with every attempt up to a cap; the delay is a uniform share of the bound, so
that many clients that were refused together do not come back together.

>>> [delay_seconds(attempt, 1.0) for attempt in (0, 1, 2, 6, 7, 5000)]
[0.5, 1.0, 2.0, 32.0, 60.0, 60.0]
>>> delay_seconds(3, 0.5), delay_seconds(3, 0.0)
(2.0, 0.0)
"""

from __future__ import annotations

_MAX_DOUBLINGS = 64


def delay_seconds(
    attempt: int, random_unit: float, base: float = 0.5, cap: float = 60.0
) -> float:
    """The delay before attempt + 1, in seconds: `random_unit * min(cap, base * 2**attempt)`.

    `attempt` counts from 0; `random_unit` is a random number from 0 to 1 that the caller draws.
    Raises ValueError for anything out of these ranges.
    """
    if attempt < 0 or not 0.0 <= random_unit <= 1.0 or base <= 0 or cap <= 0:
        raise ValueError(f"attempt {attempt}, random {random_unit}, base {base}, cap {cap}")
    return random_unit * min(cap, base * 2.0 ** min(attempt, _MAX_DOUBLINGS))
