"""Certificates made for one run, and servers that ask for them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.security.gate import Gate
from txid_sync.dev import PostgresServer, SearchServer

API_KEY, USER, PASSWORD = "a2V5LWlkOnMzY3JldC1hcGkta2V5", "syncer", "s3cret-of-the-sink"


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority, another one that nobody trusts, the server's, a client's."""

    authority: Path
    stranger: Path
    server: Path
    client: Path
    client_key: Path
    context: ssl.SSLContext


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority of our own, for localhost only."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, stranger = trustme.CA(), trustme.CA()
    server = authority.issue_cert("localhost")
    client = authority.issue_cert("reader@test", common_name="tls_reader")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.configure_cert(context)
    found = Certificates(
        *(folder / name for name in ("ca", "stranger", "server", "client", "client.key")), context
    )
    authority.cert_pem.write_to_path(found.authority)
    stranger.cert_pem.write_to_path(found.stranger)
    server.private_key_and_cert_chain_pem.write_to_path(found.server)
    client.cert_chain_pems[0].write_to_path(found.client)
    client.private_key_pem.write_to_path(found.client_key)
    found.client_key.chmod(0o600)
    return found


@pytest.fixture
def gate(elasticsearch_server: SearchServer, certificates: Certificates) -> Iterator[Gate]:
    """HTTPS and logins before the session's node."""
    context, login = certificates.context, f"{USER}:{PASSWORD}"
    with Gate(elasticsearch_server.port, context, API_KEY, login) as found:
        yield found


@pytest.fixture(scope="session")
def tls_postgres(
    certificates: Certificates, pytestconfig: pytest.Config
) -> Iterator[PostgresServer]:
    """A PostgreSQL that takes TLS connections only, from tls_reader with a certificate only."""
    with PostgresServer(pytestconfig.option.postgres) as server:
        files = {"server.pem": certificates.server, "ca.pem": certificates.authority}
        for name, source in files.items():
            target = server.data / name
            target.write_bytes(source.read_bytes())
            target.chmod(0o600)
            owner = server.data.stat()
            os.chown(target, owner.st_uid, owner.st_gid)
        with (server.data / "postgresql.conf").open("a") as file:
            file.write("ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.pem'\n"
                       "ssl_ca_file = 'ca.pem'\n")  # fmt: skip
        server.stop()
        server.start()
        yield server
