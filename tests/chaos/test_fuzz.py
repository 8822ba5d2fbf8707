"""The short form of the fuzz; `make chaos` is the long one."""

from __future__ import annotations

from pathlib import Path

from tests.chaos import fuzz

SECONDS = 30


def test_A17_A18_equal_after_crashes_of_everything(seed: int, tmp_path: Path) -> None:
    """Writers, kill -9 of the syncer, two crashes of PostgreSQL, one of Elasticsearch: equal."""
    log = tmp_path / "sync.log"
    outcome = fuzz.run(SECONDS, seed, log)
    assert outcome.equal, f"seed {seed}\n{outcome.report}\n{log.read_text()[-3000:]}"
    assert outcome.syncer_deaths >= 5
    assert (outcome.postgres_crashes, outcome.elasticsearch_crashes) == (2, 1)
