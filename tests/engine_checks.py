"""What every started search engine must be."""

from __future__ import annotations

from pathlib import Path

from txid_sync.dev import SearchServer, java
from txid_sync.dev.search_server import class_archive


def check_engine(server: SearchServer) -> None:
    """It is what it says it is, and on this machine only.

    It runs from the archive of its classes, which Java drops where it does not fit.
    """
    archive = class_archive(server.engine, java.find_jdk(server.engine.least_java))
    assert str(archive) in Path(f"/proc/{server.pid}/maps").read_text()
    (node,) = server.request("GET", "/_nodes/_local")["nodes"].values()
    assert node["version"] == server.version
    transport = int(node["transport_address"].rpartition(":")[2])
    for port in (server.port, transport):
        found = _listening_at(port)
        assert found and found <= {"0100007F", "0000000000000000FFFF00000100007F"}


def _listening_at(port: int) -> set[str]:
    """The addresses, as /proc writes them, on which this machine listens at that port."""
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    places = [row[1].partition(":") for row in rows if row[3] == "0A"]
    return {address for address, _, hexed in places if int(hexed, 16) == port}
