"""Compares tables and indices completely, by key and content, page by page in bounded memory.

First every row is looked up in the index, in the order of its key; then every document of the index
is looked up in the table.  While writes go on, both sides are read at different moments and differ
for that reason alone; the answer counts when the source is quiet and the backlog is drained.

    for result in compare("dbname=shop", ElasticsearchSettings("http://localhost:9200"), documents):
        print(result.document, result.equal)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from txid_sync.compare_documents import DeadLetterReader, IndexReader
from txid_sync.compare_json import differing, read
from txid_sync.compare_rows import Row, TableReader
from txid_sync.model import Document
from txid_sync.sinks.elasticsearch_http import ElasticsearchSettings, Http
from txid_sync.sources.postgres_session import Session

DEAD_LETTER_INDEX = "txid-sync-dead-letters"
SHOWN = 10
TIMEOUT_SECONDS = 60.0
DEAD = "dead letter"


@dataclass(frozen=True, slots=True)
class Difference:
    """A document that differs: its id, and what is known of it (never content)."""

    id: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Differences:
    """All differences of one kind: how many, and the first ten."""

    count: int = 0
    first: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the comparison of one table with its index has found.

    missing: rows without a document; stale: rows whose document has other content; ghosts:
    documents without a row.  `dead_letters` and `dead_ids` are how many documents of this index
    were refused, and the first ten of them; they are among the missing or stale as well, unless
    the row is gone.
    """

    table: str
    document: str
    index_exists: bool = True
    rows: int = 0
    documents: int = 0
    missing: Differences = Differences()
    stale: Differences = Differences()
    ghosts: Differences = Differences()
    dead_letters: int = 0
    dead_ids: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether the index holds exactly the rows of the table, with the same content."""
        differences = self.missing.count + self.stale.count + self.ghosts.count
        return self.index_exists and differences == 0 and self.rows == self.documents


def compare(
    dsn: str,
    settings: ElasticsearchSettings,
    documents: Sequence[Document],
    dead_letter_index: str = DEAD_LETTER_INDEX,
) -> Iterator[Comparison]:
    """Compare these documents one after the other.

    Raises SourceUnavailable or SinkUnavailable if a server does not answer, PreconditionError if a
    table, a column or a right is missing.
    """
    session = Session(dsn)
    with closing(session), closing(Http(settings, 1, TIMEOUT_SECONDS)) as http:
        session.connect()
        tables = [TableReader(session, document) for document in documents]
        letters = DeadLetterReader(http, dead_letter_index)
        for table, document in zip(tables, documents, strict=True):
            yield _compare(table, IndexReader(http, document.index), letters, document)


@dataclass(slots=True)
class _Tally:
    """Counts differences and keeps the first of them."""

    count: int = 0
    first: list[Difference] = field(default_factory=list)

    def add(self, id: str, note: str = "") -> None:
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(Difference(id, note))

    def result(self, dead: set[str]) -> Differences:
        """As a value; what is known to be a dead letter is called so."""
        first = [Difference(d.id, DEAD) if d.id in dead else d for d in self.first]
        return Differences(self.count, tuple(first))


def _compare(
    table: TableReader, index: IndexReader, letters: DeadLetterReader, document: Document
) -> Comparison:
    missing, stale, ghosts = _Tally(), _Tally(), _Tally()
    exists = index.open()
    rows = documents = 0
    for page in table.pages():
        rows += len(page)
        _match(page, index if exists else None, missing, stale)
    if exists:
        documents = _find_ghosts(table, index, ghosts)
    dead_letters, dead_ids = letters.of(document.name)
    shown = [difference.id for tally in (missing, stale) for difference in tally.first]
    dead = letters.among(document.name, shown) if dead_letters else set()
    return Comparison(
        table=document.table,
        document=document.name,
        index_exists=exists,
        rows=rows,
        documents=documents,
        missing=missing.result(dead),
        stale=stale.result(dead),
        ghosts=ghosts.result(set()),
        dead_letters=dead_letters,
        dead_ids=tuple(dead_ids),
    )


def _match(
    page: Sequence[Row], index: IndexReader | None, missing: _Tally, stale: _Tally
) -> None:
    """Look up a page of rows in the index."""
    found = index.get([row.id for row in page]) if index else {}
    for row in page:
        if row.id not in found:
            missing.add(row.id)
            continue
        wanted = read(row.json)
        if found[row.id] != wanted:
            stale.add(row.id, ", ".join(differing(wanted, found[row.id])))


def _find_ghosts(table: TableReader, index: IndexReader, ghosts: _Tally) -> int:
    """Look up all documents of the index in the table; gives how many there are."""
    documents = 0
    for hits in index.scan():
        documents += len(hits)
        present = table.present([hit.id for hit in hits])
        for hit in hits:
            # Two documents may have one id if their routings differ; the syncer sets none.
            if hit.routed:
                ghosts.add(hit.id, "written with a routing")
            elif hit.id not in present:
                ghosts.add(hit.id)
    return documents
