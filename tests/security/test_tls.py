"""TLS and logins: to both servers, right and wrong, with certificates made for the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.integration.cli_place import TABLES, TOML, Place, place
from tests.security.conftest import API_KEY, PASSWORD, USER, Certificates
from tests.security.gate import Gate
from tests.support import Database
from txid_sync.dev import PostgresServer
from txid_sync.errors import ExitCode

pytestmark = pytest.mark.integration

__all__ = ["place"]

HBA = """
local all postgres trust
hostssl all tls_reader all cert
hostssl all postgres all trust
"""


def sets(**values: object) -> list[str]:
    """Arguments that change settings of the sink."""
    return [part for key, value in values.items() for part in ("--set", f"sink.{key}={value}")]


def secret(folder: Path, text: str) -> Path:
    """A file that holds a secret and a line end, as editors write it."""
    file = folder / "secret"
    file.write_text(f"{text}\n")
    return file


@pytest.mark.parametrize("how", ["api_key_file", "password_file", "url"])
def test_the_sink_over_tls(place: Place, gate: Gate, certificates: Certificates, how: str) -> None:
    """HTTPS with an API key, or user and password, checked against the authority: equal."""
    url, login = gate.url, {}
    if how == "api_key_file":
        login = {how: secret(place.folder, API_KEY)}
    elif how == "password_file":
        login = {"user": USER, how: secret(place.folder, PASSWORD)}
    else:
        url = url.replace("https://", f"https://{USER}:{PASSWORD}@")
    arguments = sets(url=url, ca_file=certificates.authority, **login)
    place.run("init")
    checked = place.run("check", *arguments, code=ExitCode.NOT_EQUAL)  # as a superuser
    assert "sink rights: OK" in checked.stdout
    place.run("run", "--once", *arguments)
    assert set(place.documents("orders")) == {"1", "2", "3", "4", "5"}
    assert gate.let_in > 5
    assert gate.turned_away == 0


@pytest.mark.parametrize(
    ("login", "message"),
    [
        ({}, "does not accept this login"),
        ({"user": USER, "password": "wrong"}, "does not accept this login"),
        ({"api_key": "d3Jvbmc="}, "does not accept this login"),
    ],
)
def test_a_wrong_login_to_the_sink(
    place: Place, gate: Gate, certificates: Certificates, login: dict[str, str], message: str
) -> None:
    """One line, exit code 5, and nothing of the secret in it."""
    place.run("init")
    arguments = sets(url=gate.url, ca_file=certificates.authority, **login)
    done = place.run("run", "--once", *arguments, code=ExitCode.PRECONDITION)
    assert message in done.stderr
    assert "wrong" not in done.stderr
    assert "d3Jvbmc" not in done.stderr
    assert gate.let_in == 0


@pytest.mark.parametrize("wrong", ["authority", "name", "plain", "no authority"])
def test_a_sink_that_cannot_be_trusted(
    place: Place, gate: Gate, certificates: Certificates, wrong: str
) -> None:
    """Another authority, another name, http:// to an https:// port: no login is ever sent."""
    url, authority = gate.url, certificates.authority
    if wrong == "authority":
        authority = certificates.stranger
    elif wrong == "name":
        url = url.replace("localhost", "127.0.0.1")
    elif wrong == "plain":
        url = url.replace("https", "http")
    options: dict[str, object] = {"url": url, "api_key": API_KEY}
    if wrong in ("authority", "name"):
        options["ca_file"] = authority
    place.run("init")
    done = place.run("run", "--once", *sets(**options), code=ExitCode.SINK_UNREACHABLE)
    assert "ca_file" in done.stderr or "does not answer" in done.stderr
    assert API_KEY not in done.stderr
    assert gate.let_in == 0


@pytest.fixture
def tls_database(tls_postgres: PostgresServer) -> Iterator[Database]:
    """A database that only tls_reader with a certificate may reach over the network."""
    hba = tls_postgres.data / "pg_hba.conf"
    before = hba.read_bytes()
    name = "tls"
    database = Database(name, tls_postgres.createdb(name))
    session = database.connect()
    session.autocommit = True
    with session.cursor() as cursor:
        cursor.execute("create role tls_reader login")
        hba.write_text(HBA)
        cursor.execute("select pg_reload_conf()")
        yield database
        hba.write_bytes(before)
        cursor.execute("select pg_reload_conf()")
        cursor.execute("drop owned by tls_reader; drop role tls_reader")
    session.close()
    database.close()
    tls_postgres.dropdb(name)


@pytest.fixture
def tls_place(
    tls_database: Database, elasticsearch_url: str, index_prefix: str, tmp_path: Path
) -> Place:
    """Tables of that database, captured; the configuration names no user and no certificate."""
    found = Place(tls_database, elasticsearch_url, index_prefix, tmp_path)
    text = TOML.format(dsn=tls_database.dsn, url=elasticsearch_url, prefix=index_prefix)
    (tmp_path / "c.toml").write_text(text)
    found.sql(TABLES)
    found.run("init", "--reader", "tls_reader")
    found.sql("grant usage on schema shop to tls_reader")
    found.sql("grant select on shop.orders, public.lines to tls_reader")
    return found


def dsn(database: Any, certificates: Certificates, **changes: object) -> list[str]:
    """The argument for a TLS connection as tls_reader."""
    options = {
        "host": "localhost", "user": "tls_reader", "sslmode": "verify-full",
        "sslrootcert": certificates.authority, "sslcert": certificates.client,
        "sslkey": certificates.client_key, **changes,
    }  # fmt: skip
    text = " ".join(f"{key}='{value}'" for key, value in options.items())
    return ["--set", f"source.dsn={database.dsn} {text}"]


def test_the_source_over_tls(tls_place: Place, certificates: Certificates) -> None:
    """verify-full with a client's certificate; every connection of ours is encrypted."""
    arguments = dsn(tls_place.database, certificates)
    tls_place.run("check", *arguments)
    tls_place.run("run", "--once", *arguments)
    assert set(tls_place.documents("orders")) == {"1", "2", "3", "4", "5"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sslrootcert": "STRANGER"}, "certificate verify failed"),
        ({"host": "127.0.0.1"}, "does not match host name"),
        ({"sslcert": "", "sslkey": ""}, "certificate"),
        ({"sslmode": "disable"}, "no encryption"),
        ({"sslrootcert": "/nowhere"}, "/nowhere"),
    ],
)
def test_a_source_that_cannot_be_trusted(
    tls_place: Place, certificates: Certificates, changes: dict[str, str], said: str
) -> None:
    """What is wrong in one line; nothing that waiting would mend, so exit code 5."""
    found = {k: str(certificates.stranger) if v == "STRANGER" else v for k, v in changes.items()}
    done = tls_place.run(
        "run", "--once", *dsn(tls_place.database, certificates, **found),
        code=ExitCode.PRECONDITION,
    )  # fmt: skip
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 2  # the error and its hint


def test_the_tls_server_takes_nothing_else(tls_database: Database) -> None:
    """The test would notice a connection without TLS: the server refuses it."""
    with pytest.raises(psycopg2.OperationalError, match="no encryption"):
        psycopg2.connect(f"{tls_database.dsn} host=localhost user=tls_reader sslmode=disable")
