"""The page statement against `COPY (select row_to_json(t)) TO STDOUT`, alternating in one run."""

from __future__ import annotations

from functools import partial

from benchmarks.world import ROUNDS, Servers, report, spread, timed
from txid_sync.cursor import Cursor
from txid_sync.model import Document, Limits
from txid_sync.snapshot import Snapshot
from txid_sync.sources.postgres import PostgresSource

LIMITS = Limits(documents=10_000, body_bytes=20_000_000)
MUST_RATIO, MUST_PYTHON_MICROSECONDS, MUST_IDLE_MILLISECONDS = 0.5, 2.0, 1.0


class _Discard:
    """A file that counts what is written to it."""

    written_bytes = 0

    def write(self, data: bytes) -> None:
        self.written_bytes += len(data)


def run(servers: Servers, rows: int) -> bool:
    """Print documents/s of stream and load pages as ratios to COPY; True if all is reached."""
    touch_all(servers, rows)
    source = PostgresSource(servers.dsn, [Document("public.bench", "bench")])
    source.connect()
    ratios: dict[str, list[float]] = {"stream": [], "load": []}
    python: list[float] = []
    for _ in range(ROUNDS):
        copy_seconds, _ = timed(lambda: _copy(servers))
        for name, walk in (("stream", _stream), ("load", _load)):
            seconds, cpu = timed(partial(walk, source, rows))
            ratios[name].append(copy_seconds / seconds)
            python.append(cpu / rows * 1e6)
    idle = _idle_milliseconds(source)
    reached = (
        all(spread(values)["median"] >= MUST_RATIO for values in ratios.values())
        and max(python) <= MUST_PYTHON_MICROSECONDS
        and idle < MUST_IDLE_MILLISECONDS
    )
    lines = [
        f"{name} pages: {spread(values)['median']:.2f} of COPY"
        f" [{min(values):.2f}-{max(values):.2f}] (must {MUST_RATIO})"
        for name, values in ratios.items()
    ]  # fmt: skip
    lines.append(f"Python: {max(python):.2f} us per document (must {MUST_PYTHON_MICROSECONDS})")
    lines.append(f"idle poll: {idle:.3f} ms, no txid (must < {MUST_IDLE_MILLISECONDS} ms)")
    report("page", {"rows": rows, "python_us": max(python), "idle_ms": idle,
                    **{f"{n}_ratio": spread(v) for n, v in ratios.items()},
                    "reached": reached}, lines)  # fmt: skip
    source.close()
    return reached


def touch_all(servers: Servers, rows: int) -> None:
    """Log every key once, by statements of 1,000 rows."""
    with servers.admin.cursor() as cursor:
        for first in range(1, rows, 1000):
            cursor.execute(
                "update public.bench set paid = not paid where id between %s and %s",
                (first, first + 999),
            )
        cursor.execute("vacuum analyze public.bench")


def _copy(servers: Servers) -> None:
    with servers.admin.cursor() as cursor:
        cursor.copy_expert("copy (select row_to_json(t) from public.bench t) to stdout", _Discard())


def _stream(source: PostgresSource, rows: int) -> None:
    cursor, seen = Cursor.start(Snapshot.parse("3:3:")), 0
    while (page := source.poll(cursor, 1, LIMITS).page) is not None:
        seen += page.page.documents
        cursor = page.next
    assert seen == rows, f"{seen} documents instead of {rows}"


def _load(source: PostgresSource, rows: int) -> None:
    after, seen = None, 0
    while True:
        page = source.load("bench", after, 1, LIMITS)
        seen += page.page.documents
        after = page.next
        if after is None:
            break
    assert seen == rows, f"{seen} documents instead of {rows}"


def _idle_milliseconds(source: PostgresSource) -> float:
    cursor, _ = source.begin()
    source.poll(cursor, 1, LIMITS)
    before = source.clock()
    polls = 1000
    seconds, _ = timed(lambda: [source.poll(cursor, 1, LIMITS) for _ in range(polls)])
    assert source.clock() == before, "an idle poll took a transaction id"
    return seconds / polls * 1e3
