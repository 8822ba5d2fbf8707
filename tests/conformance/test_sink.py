"""One suite for all sinks: what the pipeline relies on, see sinks/base.py."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from txid_sync.errors import Discontinuity, PreconditionError, SinkUnavailable
from txid_sync.model import Ack, Column, DeadLetter, Document, Held, Page, Schema
from txid_sync.sinks.base import Sink
from txid_sync.sinks.elasticsearch import ElasticsearchSettings, ElasticsearchSink
from txid_sync.sinks.elasticsearch_http import Http, quoted
from txid_sync.sinks.memory import MemorySink

ODD_IDS = ['"', "\\", "a,b", "\\0", "é😀", "\t\n\x01", " ", "x" * 512, "../?#%", "{}"]


@dataclass(frozen=True)
class Bench:
    """A sink under test, and ways to look at what it holds from outside."""

    sink: Sink
    document: Document
    read: Callable[[str], object]
    drop: Callable[[], object]
    again: Callable[[], Sink]

    @property
    def name(self) -> str:
        return self.document.name

    def prepare(self, sink: Sink | None = None) -> bool:
        """Connect and prepare; whether the index was created."""
        used = sink or self.sink
        used.connect()
        column = Column("n", "int8")
        states = used.prepare([self.document], {self.name: Schema((column,), ("n",), "1", "1")})
        assert used.uuids() == {self.name: states[self.name].uuid}
        return states[self.name].created

    def send(
        self, version: int, actions: dict[str, object], dead: tuple[DeadLetter, ...] = ()
    ) -> Ack:
        """Send one page: an id with a value is indexed, with None deleted."""
        return self.sink.submit(self.page(version, actions, dead)).result(30)

    def page(
        self, version: int, actions: dict[str, object], dead: tuple[DeadLetter, ...] = ()
    ) -> Page:
        lines = []
        for document_id, value in actions.items():
            head = {"_id": document_id, "version": version, "version_type": "external_gte"}
            lines.append(json.dumps({"delete" if value is None else "index": head}))
            lines += [] if value is None else [json.dumps({"n": value})]
        body = "".join(f"{line}\n" for line in lines).encode()
        return Page(self.name, body, len(actions), version, dead)


def refuse_texts(document: str, document_id: str, source: bytes) -> str:
    """What the strict mapping of a long refuses too."""
    del document, document_id
    return "not a number" if isinstance(json.loads(source).get("n"), str) else ""


def memory_bench() -> Bench:
    sink = MemorySink(refuse=refuse_texts)
    document = Document("t", "things")

    def read(document_id: str) -> object:
        source = sink.documents(document.name).get(document_id)
        return None if source is None else json.loads(source)["n"]

    return Bench(sink, document, read, lambda: sink.drop_index(document.name), lambda: sink)


def elasticsearch_bench(url: str, prefix: str, http: Http) -> Bench:
    document = Document("t", f"{prefix}things", mapping={"n": {"type": "long"}})

    def make() -> ElasticsearchSink:
        settings = ElasticsearchSettings(url)
        return ElasticsearchSink(settings, dead_letter_index=f"{prefix}dead")

    def read(document_id: str) -> object:
        path = f"/{quoted(document.name)}/_doc/{quoted(document_id)}"
        found = http.ask("GET", path, allowed=[404]).value()
        return found["_source"]["n"] if found["found"] else None

    def drop() -> None:
        name = next(iter(http.ask("GET", f"/{quoted(document.name)}").value()))
        http.ask("DELETE", f"/{quoted(name)}")

    return Bench(make(), document, read, drop, make)


@pytest.fixture(params=["memory", pytest.param("engine", marks=pytest.mark.integration)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Each sink, prepared."""
    if request.param == "memory":
        made = memory_bench()
        made.prepare()
        yield made
        return
    url = request.getfixturevalue("elasticsearch_url")
    http = Http(ElasticsearchSettings(url), 1, 30.0)
    made = elasticsearch_bench(url, request.getfixturevalue("index_prefix"), http)
    made.prepare()
    yield made
    made.sink.close()
    http.close()


def test_preparing_creates_an_index_once(bench: Bench) -> None:
    """A second preparation adopts the index, with the same uuid, and keeps what it holds."""
    before = bench.sink.uuids()
    bench.send(5, {"1": 1})
    again = bench.again()
    assert not bench.prepare(again)
    assert again.uuids() == before
    assert again.count(bench.name) == 1


def test_two_may_prepare_at_once(bench: Bench) -> None:
    """Of several that prepare a missing index together, one creates it and all find the same."""
    bench.drop()
    sinks = [bench.again() for _ in range(4)]
    created: list[bool] = []
    threads = [
        threading.Thread(target=lambda s=sink: created.append(bench.prepare(s))) for sink in sinks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(created) == [False, False, False, True]
    assert len({sink.uuids()[bench.name] for sink in sinks}) == 1


def test_a_page_is_applied(bench: Bench) -> None:
    """Documents are what was sent, and the Ack tells how much that was."""
    page = bench.page(5, {"1": 10, "2": 20})
    ack = bench.sink.submit(page).result(30)
    assert ack == Ack(2, len(page.body))
    assert (bench.read("1"), bench.read("2"), bench.read("3")) == (10, 20, None)


def test_A15_an_older_version_never_replaces_a_newer_one(bench: Bench) -> None:
    """Newer replaces, equal is applied again, older is a success without effect that is told."""
    bench.send(5, {"1": 10})
    assert bench.send(6, {"1": 11}).conflict_version == 0
    assert bench.send(6, {"1": 12}).conflict_version == 0
    assert bench.read("1") == 12
    ack = bench.send(4, {"1": 9, "2": 20})
    assert (ack.conflict_version, ack.dead, ack.retried) == (6, (), False)
    assert (bench.read("1"), bench.read("2")) == (12, 20)


def test_H08_a_remembered_delete_counts_like_a_document(bench: Bench) -> None:
    """A delete of a missing document succeeds and keeps older versions out, as any delete does."""
    assert bench.send(5, {"1": None, "2": 20}).dead == ()
    assert bench.send(4, {"1": 9}).conflict_version == 5
    assert bench.read("1") is None
    bench.send(6, {"2": None})
    assert bench.send(5, {"2": 20}).conflict_version == 6
    assert bench.send(6, {"2": 21}).conflict_version == 0
    assert bench.send(5, {"2": None}).conflict_version == 6
    assert bench.read("2") == 21


def test_pages_overtake_each_other(bench: Bench) -> None:
    """Pages submitted together, in any order of versions: the highest version stays."""
    versions = [3, 9, 1, 7, 5, 2, 8, 4, 6]
    pages = [bench.page(v, {str(i): v for i in range(50)}) for v in versions]
    futures = [bench.sink.submit(page) for page in pages]
    assert all(future.result(30).dead == () for future in futures)
    assert {bench.read(str(i)) for i in range(50)} == {9}


def test_scan_and_count_see_every_live_document(bench: Bench) -> None:
    """All that was acknowledged is scanned, each once, with its version; deletes are not."""
    bench.send(5, {str(i): i for i in range(250)})
    bench.send(6, {str(i): i for i in range(10)})
    bench.send(7, {str(i): None for i in range(240, 250)})
    found = [pair for chunk in bench.sink.scan(bench.name) for pair in chunk]
    assert sorted(found) == sorted((str(i), 6 if i < 10 else 5) for i in range(240))
    assert bench.sink.count(bench.name) == 240


def test_odd_ids_survive(bench: Bench) -> None:
    """Ids with every kind of character are written, scanned and deleted as they are."""
    bench.send(5, dict.fromkeys(ODD_IDS, 1))
    assert sorted(i for chunk in bench.sink.scan(bench.name) for i, _ in chunk) == sorted(ODD_IDS)
    bench.send(6, dict.fromkeys(ODD_IDS))
    assert bench.sink.count(bench.name) == 0


def test_A16_a_refused_document_is_kept_once_and_the_rest_goes_on(bench: Bench) -> None:
    """The refused action becomes one dead letter, however often it is sent; others are applied."""
    for version in (5, 5, 6):
        ack = bench.send(version, {"1": version, "2": "x", "3": version})
        assert [(d.document, d.id, d.version) for d in ack.dead] == [(bench.name, "2", version)]
    assert (bench.read("1"), bench.read("2"), bench.read("3")) == (6, None, 6)
    total, letters = bench.sink.dead_letters()
    assert (total, [(d.id, d.version) for d in letters]) == (1, [("2", 6)])
    assert letters[0].reason


def test_H11_what_the_source_refused_is_kept_too(bench: Bench) -> None:
    """Dead letters that come with a page are stored and in its Ack, even if it has no actions."""
    long_id = "é" * 400
    letter = DeadLetter(bench.name, long_id, 5, "the id has more than 512 bytes")
    assert bench.send(5, {}, (letter,)).dead == (letter,)
    assert bench.sink.dead_letters() == (1, [letter])


def test_a_dead_letter_vanishes_when_its_document_is_applied(bench: Bench) -> None:
    """A later version that is taken, or a delete, removes the dead letter; others stay."""
    bench.send(5, {"1": "x", "2": "x", "3": "x", 'a"b': "x"})
    bench.send(6, {"1": 1, "4": 4})
    bench.send(6, {"2": None})
    bench.send(7, {'a"b': 1})
    total, letters = bench.sink.dead_letters()
    assert (total, [d.id for d in letters]) == (1, ["3"])
    again = bench.again()
    bench.prepare(again)
    again.submit(bench.page(8, {"3": 3})).result(30)
    assert again.dead_letters() == (0, [])


def test_no_more_dead_letters_than_asked_for(bench: Bench) -> None:
    """The total is told in full, the list up to the limit."""
    bench.send(5, {str(i): "x" for i in range(5)})
    total, letters = bench.sink.dead_letters(limit=2)
    assert (total, len(letters)) == (5, 2)


def test_a_missing_index_is_told_and_not_made_up(bench: Bench) -> None:
    """Writing to an index that is gone is a discontinuity that names the document."""
    bench.send(5, {"1": 1})
    bench.drop()
    assert bench.sink.uuids() == {}
    with pytest.raises(Discontinuity) as caught:
        bench.send(6, {"1": 1})
    assert caught.value.document == bench.name
    assert bench.sink.uuids() == {}
    with pytest.raises(Discontinuity):
        bench.sink.count(bench.name)
    assert bench.prepare()
    assert bench.sink.count(bench.name) == 0


def test_an_index_that_was_not_prepared_is_refused(bench: Bench) -> None:
    """Nothing is written to an index that nobody asked for."""
    page = replace(bench.page(5, {"1": 1}), document="another")
    with pytest.raises(PreconditionError):
        bench.sink.submit(page).result(30)


def test_a_closed_sink_takes_nothing(bench: Bench) -> None:
    """After close every page is answered with SinkUnavailable."""
    bench.sink.close()
    with pytest.raises(SinkUnavailable):
        bench.send(5, {"1": 1})


def test_adopting_changes_nothing(bench: Bench) -> None:
    """Indices that are there can be read and written; one that is missing stays so."""
    bench.send(5, {"1": 10})
    other = bench.again()
    other.connect()
    assert other.adopt([bench.document]) == bench.sink.uuids()
    assert other.submit(bench.page(6, {"1": 11})).result(30).conflict_version == 0
    assert bench.read("1") == 11
    bench.drop()
    assert other.adopt([bench.document]) == {}
    assert bench.sink.uuids() == {}
    for ask in (other.fetch, other.letters):
        with contextlib.suppress(Discontinuity):
            assert ask(bench.name, ["1"]) == {}
    with pytest.raises(Discontinuity):
        other.fetch(bench.name, ["1"])
    with pytest.raises(Discontinuity):
        other.listing(bench.name, "", 10)


def test_documents_are_fetched_as_they_are_now(bench: Bench) -> None:
    """Version and bytes at once after the answer, as they were sent; odd ids too."""
    bench.send(5, {**dict.fromkeys(ODD_IDS, 1), "1": 10, "2": 20})
    bench.send(6, {"1": 11})
    bench.send(7, {"2": None})
    found = bench.sink.fetch(bench.name, ["1", "2", "never", *ODD_IDS])
    assert found.pop("1") == Held(6, b'{"n": 11}')
    assert found == dict.fromkeys(ODD_IDS, Held(5, b'{"n": 1}'))
    assert bench.sink.fetch(bench.name, []) == {}


def test_bytes_come_back_as_they_were_sent(bench: Bench) -> None:
    """Nothing is reformatted: white space, long numbers, escapes, nesting."""
    sources = [
        '{"n": 1, "x" :[1.0, 1e400, 12345678901234567890.12], "y":"é\\u0000\\"]}"}',
        '{"n":2,"z":{"docs":[{"_source":{"a":1}}]},"e":{},"f":[]}',
        '{ }',
    ]
    lines = []
    for number, source in enumerate(sources):
        head = {"_id": str(number), "version": 5, "version_type": "external_gte"}
        lines += [json.dumps({"index": head}), source]
    body = "".join(f"{line}\n" for line in lines).encode()
    bench.sink.submit(Page(bench.name, body, len(sources), 5)).result(30)
    found = bench.sink.fetch(bench.name, [str(n) for n in range(len(sources))])
    assert [found[str(n)].source.decode() for n in range(len(sources))] == sources


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_a_listing_meets_every_document_once(bench: Bench, limit: int) -> None:
    """From place to place, while others are written: all that were there, with versions."""
    bench.send(5, {str(i): i for i in range(40)})
    bench.send(6, {str(i): i for i in range(5)})
    bench.send(7, {"39": None})
    found: list[tuple[str, int]] = []
    place = ""
    for number in range(100):
        listed, place = bench.sink.listing(bench.name, place, limit)
        found += listed
        if not place:
            break
        bench.send(8, {f"new-{number}": 1})
    old = sorted(pair for pair in found if not pair[0].startswith("new"))
    assert old == sorted((str(i), 6 if i < 5 else 5) for i in range(39))
    assert len(set(found)) == len(found)


def test_an_empty_index_has_an_empty_listing(bench: Bench) -> None:
    """It ends at once."""
    listed, place = bench.sink.listing(bench.name, "", 10)
    assert (len(listed), place) == (0, "")


def test_dead_letters_are_found_by_id_at_once(bench: Bench) -> None:
    """Those of the ids asked for, as they are now."""
    assert bench.sink.letters(bench.name, ["1"]) == {}
    bench.send(5, {"1": "x", 'a"b': "x", "2": 2})
    found = bench.sink.letters(bench.name, ["1", "2", 'a"b', "never"])
    assert {id: (d.document, d.version) for id, d in found.items()} == {
        "1": (bench.name, 5), 'a"b': (bench.name, 5)
    }  # fmt: skip
    bench.send(6, {"1": 1})
    assert list(bench.sink.letters(bench.name, ["1", 'a"b'])) == ['a"b']
    assert bench.sink.letters(bench.name, []) == {}
