"""How state machines are run: seeded, with failing examples kept and replayed for ever.

Whatever fails is stored in tests/machines/examples/<machine>/ by Hypothesis, shrunk; commit those
files.  Every later run begins with them, and they stay when they pass again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.database import ExampleDatabase
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

EXAMPLES = Path(__file__).parent / "examples"
PROFILE_EXAMPLES = 100  # of the profile dev; the others run so many times more
SEARCH = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)

Machine = type[RuleBasedStateMachine]


class Kept(ExampleDatabase):
    """A folder with the shrunk failing examples of one machine; what was there stays there.

    They are replayed also when the machine has changed since, as far as its rules still fit.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._new: set[Path] = set()

    def save(self, key: bytes, value: bytes) -> None:
        """Keep an example that fails."""
        file = self._file(value)
        if not _is_scratch(key) and not file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(value)
            self._new.add(file)

    def fetch(self, key: bytes) -> Iterator[bytes]:
        """Everything that is kept."""
        if not _is_scratch(key) and self._folder.is_dir():
            yield from [file.read_bytes() for file in sorted(self._folder.iterdir())]

    def delete(self, key: bytes, value: bytes) -> None:
        """Only what was saved a moment ago: a shorter example has come in its place."""
        file = self._file(value)
        if not _is_scratch(key) and file in self._new:
            self._new.remove(file)
            file.unlink()

    def _file(self, value: bytes) -> Path:
        return self._folder / hashlib.sha256(value).hexdigest()[:16]


def _is_scratch(key: bytes) -> bool:
    """Whether Hypothesis keeps no failures under this key, but what it may want to try."""
    return key.endswith((b".secondary", b".pareto", b".target"))


def search(machine: Machine, number: int, examples: int, steps: int) -> None:
    """Replay what is kept, then search; in the profile ci always the same examples."""
    profile = settings()
    chosen = 0 if profile.derandomize else number
    run_state_machine_as_test(
        seed(chosen)(machine),
        settings=settings(
            max_examples=max(1, examples * profile.max_examples // PROFILE_EXAMPLES),
            stateful_step_count=steps,
            derandomize=False,
            database=Kept(EXAMPLES / machine.__name__.lower()),
            phases=SEARCH,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def finds(machine: Machine, examples: int, steps: int, *failures: type[BaseException]) -> bool:
    """Whether the machine fails by itself, always in the same way; for machines that must."""
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                derandomize=True,
                database=None,
                phases=(Phase.generate,),
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except failures:
        return True
    return False
