"""Load into Elasticsearch, against what it takes from prebuilt bodies in the same run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection
from urllib.parse import urlsplit

from benchmarks.world import ROUNDS, Servers, report, spread, timed
from txid_sync.model import Document, Limits
from txid_sync.pipeline import Pipeline, PipelineOptions
from txid_sync.progress.memory import MemoryProgress
from txid_sync.sinks.elasticsearch import ElasticsearchSettings, ElasticsearchSink
from txid_sync.sources.postgres import PostgresSource

LIMITS = Limits(documents=2000)
IN_FLIGHT = 4
MUST_RATIO = 0.4


def run(servers: Servers, rows: int) -> bool:
    """Print end-to-end documents/s as a ratio to the prebuilt rate; True if it is reached."""
    bodies = _bodies(servers)
    _prebuilt(servers, bodies, "warm")
    _end_to_end(servers, "warm-up", rows)
    ratios, rates, prebuilt_rates = [], [], []
    for n in range(ROUNDS):
        floor, _ = timed(partial(_prebuilt, servers, bodies, f"prebuilt-{n}"))
        ours, _ = timed(partial(_end_to_end, servers, f"ours-{n}", rows))
        ratios.append(floor / ours)
        rates.append(rows / ours)
        prebuilt_rates.append(rows / floor)
    reached = spread(ratios)["median"] >= MUST_RATIO
    report(
        "end-to-end",
        {"rows": rows, "ratio": spread(ratios), "documents_per_second": spread(rates),
         "prebuilt_per_second": spread(prebuilt_rates), "reached": reached},
        [
            f"ratio to prebuilt bodies: {spread(ratios)} (must {MUST_RATIO})",
            f"{spread(rates)['median']:,.0f} against {spread(prebuilt_rates)['median']:,.0f} per s",
        ],
    )  # fmt: skip
    return reached


def _document(index: str) -> Document:
    return Document("public.bench", index)


def _bodies(servers: Servers) -> list[bytes]:
    source = PostgresSource(servers.dsn, [_document("bodies")])
    source.connect()
    bodies, after = [], None
    while True:
        page = source.load("bodies", after, 1, LIMITS)
        bodies.append(page.page.body)
        after = page.next
        if after is None:
            break
    source.close()
    return bodies


def _prebuilt(servers: Servers, bodies: list[bytes], index: str) -> None:
    """Send ready bodies with plain HTTP, as many at a time as the pipeline does."""
    source = PostgresSource(servers.dsn, [_document(index)])
    sink = ElasticsearchSink(ElasticsearchSettings(servers.url))
    sink.connect()
    sink.prepare([_document(index)], source.describe())
    sink.close()
    source.close()
    where = urlsplit(servers.url)
    path = f"/{index}/_bulk?filter_path=errors"
    headers = {"content-type": "application/x-ndjson"}

    def send(share: list[bytes]) -> None:
        connection = HTTPConnection(where.hostname or "", where.port)
        for body in share:
            if body:
                connection.request("POST", path, body, headers)
                answer = connection.getresponse().read()
                assert answer == b'{"errors":false}', answer[:300]
        connection.close()

    with ThreadPoolExecutor(IN_FLIGHT) as workers:
        list(workers.map(send, [bodies[n::IN_FLIGHT] for n in range(IN_FLIGHT)]))


def _end_to_end(servers: Servers, index: str, rows: int) -> None:
    document = _document(index)
    source = PostgresSource(servers.dsn, [document])
    sink = ElasticsearchSink(ElasticsearchSettings(servers.url), IN_FLIGHT)
    options = PipelineOptions(LIMITS, IN_FLIGHT)
    pipeline = Pipeline(index, source, sink, MemoryProgress(), [document], options)
    pipeline.start()
    while pipeline.step() or pipeline.status().phase != "sync":
        pass
    pipeline.stop()
    held = sink.count(index)
    assert held == rows, f"{held} documents instead of {rows}"
    sink.close()
    source.close()
