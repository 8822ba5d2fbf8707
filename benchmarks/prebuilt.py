"""The reference of writing: ready bulk bodies with versions, over plain HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

from benchmarks.running import Place
from txid_sync.model import Limits
from txid_sync.sources.postgres import PostgresSource
from txid_sync.wiring import assemble

PAGE_BYTES = 50 * 2**20
FINE = b'{"errors":false}'


def bodies_of(where: Place, documents: int) -> list[bytes]:
    """Every row of the first table, so many in a body."""
    config = where.config
    found = []
    with closing(PostgresSource(config.source.dsn, config.documents)) as source:
        source.connect()
        after, more, limits = None, True, Limits(documents, PAGE_BYTES)
        while more:
            page = source.load(where.index, after, 1, limits)
            found.append(page.page.body)
            after, more = page.next, page.next is not None
    return [body for body in found if body]


def prepare(where: Place) -> None:
    """Make the indices, just as the pipeline does."""
    with assemble(where.config) as assembly:
        assembly.source.connect()
        assembly.sink.connect()
        assembly.sink.prepare(assembly.config.documents, assembly.source.describe())


def send(url: str, index: str, bodies: Sequence[bytes], in_flight: int) -> None:
    """Send all bodies, so many at a time; every one must be taken as a whole."""
    with ThreadPoolExecutor(in_flight) as senders:
        shares = [bodies[n::in_flight] for n in range(in_flight)]
        for done in [senders.submit(_send_share, url, index, share) for share in shares]:
            done.result()


def _send_share(url: str, index: str, bodies: Sequence[bytes]) -> None:
    where = urlsplit(url)
    path = f"/{index}/_bulk?filter_path=errors"
    headers = {"content-type": "application/x-ndjson"}
    with closing(HTTPConnection(where.hostname or "", where.port)) as connection:
        for body in bodies:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse().read()
            assert answer == FINE, answer[:300]
