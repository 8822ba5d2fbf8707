"""One suite for all stores of progress, see progress/base.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from txid_sync.cursor import Cursor
from txid_sync.errors import TakenOver
from txid_sync.progress.base import DocumentProgress, Progress, ProgressStore
from txid_sync.progress.elasticsearch import ElasticsearchProgress
from txid_sync.progress.memory import MemoryProgress
from txid_sync.sinks.elasticsearch import ElasticsearchSettings
from txid_sync.snapshot import Snapshot

START = Progress(Cursor.start(Snapshot.parse("10:14:10,12")), {"system": "1"})


@dataclass(frozen=True)
class Stores:
    """A store, and the same as a second instance sees it."""

    store: ProgressStore
    other: Callable[[], ProgressStore]


@pytest.fixture(params=["memory", pytest.param("engine", marks=pytest.mark.integration)])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """Each store, empty."""
    if request.param == "memory":
        memory = MemoryProgress()
        yield Stores(memory, memory.other)
        return
    settings = ElasticsearchSettings(request.getfixturevalue("elasticsearch_url"))
    index = request.getfixturevalue("index_prefix") + "progress"
    opened = [ElasticsearchProgress(settings, index)]

    def other() -> ElasticsearchProgress:
        opened.append(ElasticsearchProgress(settings, index))
        return opened[-1]

    yield Stores(opened[0], other)
    for store in opened:
        store.close()


def test_what_is_saved_is_loaded(stores: Stores) -> None:
    """Nothing at first; then exactly what was saved, for each pipeline by itself."""
    document = DocumentProgress("t", "1", "f" * 64, "u", "d", True, ("é", 'a"\n'), 2**62, 5, True)
    large = replace(START, documents={f"things-{i}": document for i in range(500)})
    assert stores.store.load("a") is None
    fence = stores.store.save("a", large, None)
    stores.store.save("b", START, None)
    assert stores.other().load("a") == (large, fence)
    assert stores.other().load("b") != stores.other().load("a")


def test_each_save_has_a_new_fence(stores: Stores) -> None:
    """The fence that a save gives is the one that the next save and the next load go by."""
    first = stores.store.save("a", START, None)
    second = stores.store.save("a", replace(START, epoch=2), first)
    assert first != second
    loaded = stores.other().load("a")
    assert loaded == (replace(START, epoch=2), second)
    stores.store.save("a", replace(START, epoch=3), second)


def test_a_second_instance_takes_over(stores: Stores) -> None:
    """Whoever saves with an old fence has to stop, and changes nothing."""
    fence = stores.store.save("a", START, None)
    theirs = stores.other().save("a", replace(START, epoch=2), fence)
    with pytest.raises(TakenOver, match="'a'"):
        stores.store.save("a", replace(START, epoch=3), fence)
    assert stores.store.load("a") == (replace(START, epoch=2), theirs)


def test_only_one_may_begin(stores: Stores) -> None:
    """A first save over what is stored already is refused."""
    stores.store.save("a", START, None)
    with pytest.raises(TakenOver):
        stores.other().save("a", replace(START, epoch=2), None)


def test_an_own_save_whose_answer_was_lost_is_found(stores: Stores) -> None:
    """A repeated save that finds its own text stored goes on from there."""
    first = stores.store.save("a", START, None)
    assert stores.store.save("a", START, None) == first
    second = stores.store.save("a", replace(START, epoch=2), first)
    assert stores.store.save("a", replace(START, epoch=2), first) == second


def test_deleting_forgets(stores: Stores) -> None:
    """After a delete there is nothing, an old fence is refused, and a new start is possible."""
    stores.store.delete("a")
    fence = stores.store.save("a", START, None)
    stores.other().delete("a")
    stores.other().delete("a")
    assert stores.store.load("a") is None
    with pytest.raises(TakenOver):
        stores.store.save("a", START, fence)
    stores.store.save("a", START, None)


@pytest.mark.parametrize("name", ["a/b", "é 😀", "_x", '"?#%', "x" * 512])
def test_odd_names_are_names(stores: Stores, name: str) -> None:
    """A pipeline's name may have any characters."""
    fence = stores.store.save(name, START, None)
    assert stores.other().load(name) == (START, fence)
    stores.store.delete(name)
    assert stores.other().load(name) is None


def test_notes_are_kept_beside_progress(stores: Stores) -> None:
    """The last one stays, per pipeline and name; progress is not touched; deleting forgets them."""
    assert stores.store.recall("a", "verify") == ""
    fence = stores.store.save("a", START, None)
    stores.store.note("a", "verify", "one")
    stores.other().note("a", "verify", "two" * 20_000)
    stores.store.note("a", "background", "é")
    assert stores.store.recall("a", "verify") == "two" * 20_000
    assert stores.other().recall("a", "background") == "é"
    assert stores.store.recall("b", "verify") == ""
    assert stores.other().load("a") == (START, fence)
    stores.store.note("a", "background", "")
    assert stores.store.recall("a", "background") == ""
    stores.store.delete("a")
    assert stores.store.recall("a", "verify") == ""
