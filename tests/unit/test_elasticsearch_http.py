"""Settings, logins and the names of failures."""

from __future__ import annotations

import base64
from contextlib import closing
from typing import Any, ClassVar

import pytest

from tests.unit.listening import Quiet, listening
from txid_sync.errors import PreconditionError, SinkUnavailable, TxidSyncError, UsageError
from txid_sync.sinks.elasticsearch import ElasticsearchSink, check_version
from txid_sync.sinks.elasticsearch_http import ElasticsearchSettings, Http, refused
from txid_sync.sinks.elasticsearch_indices import seconds_of

SECRETS = ("s3cret", "k3y", "p%40ss", "p@ss")


@pytest.mark.parametrize(
    ("url", "nodes"),
    [
        ("http://a", ["http://a:9200"]),
        ("https://a", ["https://a:443"]),
        ("http://u:p%40ss@a:1/es/, https://b:2", ["http://a:1/es", "https://b:2"]),
        ("http://[::1]:9200", ["http://[::1]:9200"]),
    ],
)
def test_nodes_are_told_without_their_login(url: str, nodes: list[str]) -> None:
    """What may be printed of a URL."""
    assert ElasticsearchSettings(url).nodes == nodes


@pytest.mark.parametrize(
    "url", ["", "a:9200", "ftp://u:s3cret@a", "http://", "http://u:s3cret@a:x"]
)
def test_a_url_of_another_form_is_refused(url: str) -> None:
    """With a usage error that does not repeat it: it may hold a password."""
    with pytest.raises(UsageError) as caught:
        Http(ElasticsearchSettings(url), 1, 1.0)
    assert "s3cret" not in str(caught.value)


def test_a_missing_ca_file_is_told() -> None:
    """Not with a traceback of the TLS library."""
    settings = ElasticsearchSettings("https://a", ca_file="/nowhere/ca.pem")
    with pytest.raises(UsageError):
        Http(settings, 1, 1.0)


def test_settings_do_not_show_secrets() -> None:
    """Not in a log of the settings either."""
    settings = ElasticsearchSettings("http://u:s3cret@a", api_key="k3y", password="p@ss")
    assert not any(secret in repr(settings) for secret in SECRETS)


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (401, "security_exception", PreconditionError),
        (403, "security_exception", PreconditionError),
        (403, "cluster_block_exception", SinkUnavailable),
        (400, "illegal_argument_exception", PreconditionError),
        (404, "", PreconditionError),
        (429, "", SinkUnavailable),
        (503, "", SinkUnavailable),
    ],
)
def test_refusals_have_their_errors(status: int, kind: str, error: type[TxidSyncError]) -> None:
    """What may pass is waited for, what will not is told to an operator."""
    assert isinstance(refused("PUT /i", status, kind, "why"), error)


@pytest.mark.parametrize("version", ["7.17.29", "8.19.20", "9.5.3", "2.19.1", "3.8.0", "10.0"])
def test_known_versions_are_taken(version: str) -> None:
    """Elasticsearch from 7.10 on, and OpenSearch."""
    check_version(version, "a")


@pytest.mark.parametrize("version", ["6.8.0", "5.6.16", "7.9.3", "", "x"])
def test_other_versions_are_refused(version: str) -> None:
    """Too old, or no version at all."""
    with pytest.raises(PreconditionError, match="needed"):
        check_version(version, "a")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("5m", 300), ("2h", 7200), ("1d", 86400), ("300000ms", 300), ("-1", 0), ("x", 0)],
)
def test_time_values_are_read(text: str, seconds: float) -> None:
    """As settings are written; what can not be read counts as nothing."""
    assert seconds_of(text) == seconds


class Other(Quiet):
    """A web server that is no sink; it remembers the headers it got."""

    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append(dict(self.headers))
        status = 401 if self.path.startswith("/locked") else 200
        self.send_response(status)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")


@pytest.fixture
def other_server() -> Any:
    """The address of a web server that is no sink."""
    Other.seen = []
    with listening(Other) as address:
        yield address


def test_another_server_is_not_taken_for_a_sink(other_server: str) -> None:
    """A page of HTML is no answer."""
    with (
        closing(ElasticsearchSink(ElasticsearchSettings(f"http://{other_server}"))) as sink,
        pytest.raises(SinkUnavailable, match="no JSON"),
    ):
        sink.connect()


def test_a_refused_login_is_told_without_it(other_server: str) -> None:
    """401 stops with a clear message."""
    settings = ElasticsearchSettings(f"http://u:s3cret@{other_server}/locked")
    with (
        closing(ElasticsearchSink(settings)) as sink,
        pytest.raises(PreconditionError, match="login") as caught,
    ):
        sink.connect()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("login", "header"),
    [
        ({"user": "a", "password": "b:ü"}, "Basic " + base64.b64encode("a:b:ü".encode()).decode()),
        ({"api_key": "k3y"}, "ApiKey k3y"),
        ({}, None),
    ],
)
def test_logins_are_sent(other_server: str, login: dict[str, str], header: str | None) -> None:
    """In the header that the server expects."""
    with closing(Http(ElasticsearchSettings(f"http://{other_server}", **login), 1, 5.0)) as http:
        http.send("GET", "/")
    assert Other.seen[0].get("authorization") == header


def test_tls_that_is_none_is_told(other_server: str) -> None:
    """https:// to a server that speaks plain HTTP: one line with a hint."""
    with (
        closing(Http(ElasticsearchSettings(f"https://{other_server}"), 1, 5.0)) as http,
        pytest.raises(SinkUnavailable, match="TLS"),
    ):
        http.send("GET", "/")
