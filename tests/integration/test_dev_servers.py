"""The throw-away servers themselves: start, crash, isolation, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.engine_checks import check_engine
from tests.support import eventually
from txid_sync.dev import (
    ElasticsearchServer,
    PostgresServer,
    RunFolder,
    SearchServer,
    ServerError,
    cache,
    java,
)
from txid_sync.dev.engines import ENGINES, find_engine, left_out
from txid_sync.dev.folders import remove_stale
from txid_sync.dev.postgres import VERSIONS
from txid_sync.dev.processes import alive, children

PARENT = """
    import json, threading, time
    from txid_sync.dev import PostgresServer, SearchServer
    engines = ("elasticsearch-8", "opensearch-2")
    servers = [PostgresServer(), *(SearchServer(engine) for engine in engines)]
    # Started by threads that end: the servers must live on until the process dies.
    threads = [threading.Thread(target=server.start) for server in servers]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    session = servers[0].connect()
    print(json.dumps([[server.pid, str(server.folder)] for server in servers]), flush=True)
    time.sleep(600)
"""


def ask(server: PostgresServer, statement: str, dbname: str = "postgres") -> list[tuple[Any, ...]]:
    """Run one statement in a session of its own; gives its rows."""
    with contextlib.closing(server.connect(dbname)) as session, session.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def started_by_another() -> Iterator[tuple[subprocess.Popen[str], list[int], list[Path]]]:
    """A process that runs three servers; its servers' pids (with children) and folders."""
    command = [sys.executable, "-c", textwrap.dedent(PARENT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        servers = json.loads(parent.stdout.readline())
        pids = [pid for pid, _ in servers]
        family = pids + [child for pid in pids for child in children(pid)]
        yield parent, family, [Path(folder) for _, folder in servers]
        parent.kill()


def test_nothing_survives_a_killed_parent(
    started_by_another: tuple[subprocess.Popen[str], list[int], list[Path]],
) -> None:
    """SIGKILL of the process that started them ends all servers and removes their folders."""
    parent, family, folders = started_by_another
    assert len(family) > 5
    assert all(alive(pid) for pid in family)
    parent.kill()
    eventually(lambda: not any(alive(pid) for pid in family), 15)
    eventually(lambda: not any(folder.exists() for folder in folders), 5)


def test_nothing_survives_a_killed_parent_and_supervisor(
    started_by_another: tuple[subprocess.Popen[str], list[int], list[Path]],
) -> None:
    """With the supervisors killed too, the servers end, and the next run removes the folders."""
    parent, family, folders = started_by_another
    supervisors = [pid for pid in children(parent.pid) if alive(pid)]
    assert len(supervisors) == 3
    for pid in [*supervisors, parent.pid]:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in family), 15)
    parent.wait()
    assert all(folder.exists() for folder in folders)
    assert set(folders) <= set(remove_stale())
    assert not any(folder.exists() for folder in folders)


def test_postgres_keeps_data_over_crash_and_restart() -> None:
    """After kill -9, and after each kind of stop, the same port answers with the same rows."""
    with PostgresServer() as server:
        ask(server, "create table t (id integer primary key)")
        ask(server, "insert into t select generate_series(1, 1000)")
        dsn, folder, old = server.dsn(), server.folder, server.pid
        backends = children(old)
        server.kill9()
        assert not any(alive(pid) for pid in [old, *backends])
        assert not server.running()
        server.start()
        server.restart("immediate")
        server.restart("smart")
        server.restart()
        assert server.dsn() == dsn
        assert ask(server, "select count(*) from t") == [(1000,)]
    assert not folder.exists()


def together(action: Callable[[SearchServer], object], servers: list[SearchServer]) -> None:
    """Do the same to all servers at once."""
    with ThreadPoolExecutor(len(servers)) as pool:
        list(pool.map(action, servers))


def test_engines_side_by_side_keep_data_over_crash_and_restart() -> None:
    """One of each family: own port, data and setting; kill -9 loses no document.  The others are
    killed in tests/matrix."""
    ours = {engine.kind: name for name, engine in ENGINES.items() if name not in left_out()}
    names, settings = [*ours.values()], {"thread_pool.write.queue_size": 77}
    with contextlib.ExitStack() as stack:
        servers = [SearchServer(name, settings, heap_megabytes=384) for name in names]
        for server in servers:
            stack.callback(server.close)
        together(SearchServer.start, servers)
        for server in servers:
            server.request("PUT", "/things/_doc/1", {"name": server.engine.name})
        urls = [server.url for server in servers]
        pids = [server.pid for server in servers]
        together(SearchServer.kill9, servers)
        assert len(pids) > 1
        assert not any(alive(pid) for pid in pids)
        together(SearchServer.start, servers)
        assert [server.url for server in servers] == urls
        assert len(set(urls)) == len(names)
        for server in servers:
            check_engine(server)
            assert server.request("GET", "/things/_doc/1")["_source"]["name"] == server.engine.name
            (node,) = server.request("GET", "/_nodes/_local/thread_pool")["nodes"].values()
            assert node["thread_pool"]["write"]["queue_size"] == 77
            server.delete_indices("th")
            assert server.request("GET", "/_cat/indices?format=json") == []
    assert not any(server.folder.exists() for server in servers)


def test_two_servers_do_not_disturb_each_other(postgres_server: PostgresServer) -> None:
    """A second server has its own port, data and life; a setting reaches it."""
    with PostgresServer(settings={"max_connections": 33, "fsync": False}) as other:
        other.createdb("only here")
        assert ask(other, "show max_connections", "only here") == [("33",)]
        assert ask(other, "show fsync") == [("off",)]
        other.kill9()
    assert ask(postgres_server, "show max_connections") == [("100",)]
    names = ask(postgres_server, "select datname from pg_database where datname = 'only here'")
    assert names == []


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_postgres_starts(version: str) -> None:
    """Each supported major version runs with the settings that the tests count on."""
    with PostgresServer(version) as server:
        assert ask(server, "show server_version")[0][0].split(".")[0] == version
        assert ask(server, "show wal_level") == [("replica",)]
        assert ask(server, "show max_prepared_transactions") == [("20",)]


def test_a_failed_start_shows_the_log() -> None:
    """A setting that PostgreSQL refuses is named in the error, and the folder is removed."""
    server = PostgresServer(settings={"no_such_setting": 1})
    with pytest.raises(ServerError, match="no_such_setting"), server:
        pass
    assert not server.folder.exists()


def test_an_unknown_version_is_refused() -> None:
    """A version without programs is an error that names the versions there are."""
    with pytest.raises(ServerError, match="13"):
        PostgresServer("12")
    with pytest.raises(ServerError, match=r"9\.5\.3"):
        ElasticsearchServer("8.0.0")
    with pytest.raises(ServerError, match=r"opensearch-3\.8\.0"):
        SearchServer("opensearch-1")


def test_engines_without_their_java_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only an old JDK is found, the engines that need a newer one are named with it."""
    old = java.Jdk(Path("/old"), 17)
    monkeypatch.setattr(java, "candidates", lambda: iter([old.home]))
    monkeypatch.setattr(java, "inspect", lambda home: old)
    assert set(left_out()) == {"elasticsearch-9.5.3", "opensearch-3.8.0"}
    assert all("JDK 21" in why and "17 in /old" in why for why in left_out().values())
    with pytest.raises(ServerError, match="JDK 21"):
        SearchServer("opensearch-3.8.0")


@pytest.mark.parametrize("name", ENGINES)
def test_a_version_may_be_cut_short(name: str) -> None:
    """A number of the version may be left out, a part of a number may not."""
    short = name.rpartition(".")[0]
    assert find_engine(name) is find_engine(short) is ENGINES[name]
    with pytest.raises(ServerError):
        find_engine(name[:-1])


def test_a_living_owner_keeps_its_folder() -> None:
    """Cleaning removes no folder whose owner lives, however often it runs."""
    folder = RunFolder("test")
    assert folder.path not in remove_stale()
    assert folder.path.exists()
    folder.remove()
    assert not folder.path.exists()


def count_build(folder: Path) -> None:
    """A build that leaves one line per run next to the cache, slowly."""
    with (folder.parent / "builds").open("a") as file:
        file.write("built\n")
    time.sleep(0.3)
    (folder / "content").write_text("whole")


def use_cache(_: int) -> str:
    """What one of several runs side by side finds."""
    return (cache.cached("thing", count_build) / "content").read_text()


def test_runs_side_by_side_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processes with an empty cache build it once and all see the whole content."""
    monkeypatch.setenv("TXID_SYNC_CACHE", str(tmp_path / "cache"))
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(use_cache, range(4), chunksize=1) == ["whole"] * 4
    assert (tmp_path / "cache" / "builds").read_text() == "built\n"


def test_a_failed_build_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception while building leaves nothing that a later run could take for ready."""
    monkeypatch.setenv("TXID_SYNC_CACHE", str(tmp_path))

    def broken(folder: Path) -> None:
        (folder / "half").write_text("")
        raise ServerError("no network")

    with pytest.raises(ServerError, match="no network"):
        cache.cached("thing", broken)
    assert [path.name for path in tmp_path.iterdir()] == ["thing.lock"]
    assert cache.cached("thing", lambda folder: (folder / "x").touch()).is_dir()
