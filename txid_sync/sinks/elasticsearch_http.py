"""Requests to Elasticsearch or OpenSearch, and what their failures are called.

Only the transport of the Elasticsearch client is used (nodes, TLS, pooling), with plain media
types: the same bytes serve Elasticsearch 7.17 to 9 and OpenSearch 2 and 3.  Its own retries and
sniffing are off, and it parses nothing: whoever asks decides.  The client around it is left alone,
since importing its hundreds of methods takes as long as all the rest of a start.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from elastic_transport import JsonSerializer, TlsError, Transport, TransportError
from elastic_transport.client_utils import url_to_node_config

from txid_sync.errors import PreconditionError, SinkUnavailable, TxidSyncError, UsageError
from txid_sync.sinks.bulk import error_of
from txid_sync.sinks.compression import LEAST_BYTES, compressed, is_wanted

JSON = "application/json"
NDJSON = "application/x-ndjson"
_MEDIA_TYPES = (JSON, NDJSON, "text/*", "application/*")


@dataclass(frozen=True, slots=True)
class ElasticsearchSettings:
    """Where the sink is and how to log in.

    `url` is one URL or several, separated by commas (nodes of one cluster); user and password may
    stand in it.  `api_key` is the encoded form (base64 of id:key).  `ca_file` is a PEM file.
    `compress` tells whether request bodies are: always, never, or auto, where a node is remote.
    """

    url: str = field(repr=False)
    api_key: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    compress: str = "auto"

    @property
    def nodes(self) -> Sequence[str]:
        """The URLs without user and password, each with its port; raises UsageError."""
        return [_node(url.strip()) for url in self.url.split(",") if url.strip()]

    @property
    def login(self) -> tuple[str, str] | None:
        """(user, password), from the fields or else from the first URL that has them."""
        if self.user:
            return self.user, self.password
        for url in self.url.split(","):
            parts = urlsplit(url.strip())
            if parts.username:
                return unquote(parts.username), unquote(parts.password or "")
        return None


def _node(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError("a sink URL is not of the form http(s)://host:port")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 9200)
    except ValueError:
        raise UsageError("a sink URL has a port that is no number from 1 to 65535") from None
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return urlunsplit((parts.scheme, where, parts.path.rstrip("/"), "", ""))


class _Bytes(JsonSerializer):
    """Passes bodies through as bytes, in both directions."""

    def loads(self, data: bytes) -> bytes:
        return data

    def dumps(self, data: bytes) -> bytes:
        return data


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of an HTTP answer."""

    status: int
    body: bytes

    def value(self) -> dict[str, Any]:
        """The body as a JSON object; raises SinkUnavailable if it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise SinkUnavailable(
                f"the sink answered {self.status} with something that is no JSON object",
                "is there a proxy in between, or another server at this URL?",
            )
        return value

    @property
    def error(self) -> tuple[str, str]:
        """(type, reason) of the error that the body tells, empty if none."""
        return error_of(self.body)


class Http:
    """One pool of keep-alive connections to the nodes of one sink; used by many threads."""

    def __init__(
        self, settings: ElasticsearchSettings, connections: int, timeout_seconds: float
    ) -> None:
        self.where = ", ".join(settings.nodes)
        self._timeout_seconds = timeout_seconds
        self._transport = _transport(settings, connections)
        self._headers = _login_headers(settings)
        self._compress = is_wanted(settings.compress, settings.nodes)

    def send(
        self, method: str, path: str, body: bytes | None = None, media_type: str = JSON
    ) -> Answer:
        """One request, tried once; raises SinkUnavailable if there is no answer."""
        headers = {"accept": JSON, "user-agent": "txid-sync", **self._headers}
        if body is not None:
            headers["content-type"] = media_type
            if self._compress and len(body) >= LEAST_BYTES:
                headers["content-encoding"] = "gzip"
                body = compressed(body)
        try:
            answer = self._transport.perform_request(
                method,
                path,
                body=body,
                headers=headers,
                max_retries=0,
                retry_on_status=(),
                request_timeout=self._timeout_seconds,
            )
        except TransportError as error:
            raise _no_answer(self.where, error) from None
        return Answer(answer.meta.status, answer.body or b"")

    def send_json(self, method: str, path: str, value: object = None) -> Answer:
        """The same with a JSON value as body."""
        return self.send(method, path, None if value is None else json.dumps(value).encode())

    def ask(
        self, method: str, path: str, value: object = None, allowed: Sequence[int] = ()
    ) -> Answer:
        """A request with a JSON body whose answer must be 2xx or an allowed status.

        Raises SinkUnavailable for what may pass, PreconditionError for what will not.
        """
        answer = self.send_json(method, path, value)
        if answer.status in allowed:
            answer.value()  # a 404 that the sink did not say must not pass for one that it did
            return answer
        if 200 <= answer.status < 300:
            return answer
        raise refused(f"{method} {path.partition('?')[0]}", answer.status, *answer.error)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


def _transport(settings: ElasticsearchSettings, connections: int) -> Transport:
    if not settings.nodes:
        raise UsageError("no sink URL is given")
    if settings.ca_file and not Path(settings.ca_file).is_file():
        raise UsageError(f"there is no file {settings.ca_file!r}", "see ca_file")
    options: dict[str, Any] = {"ca_certs": settings.ca_file} if settings.ca_file else {}
    try:
        nodes = [
            url_to_node_config(node).replace(connections_per_node=connections, **options)
            for node in settings.nodes
        ]
        return Transport(
            nodes,
            max_retries=0,
            retry_on_timeout=False,
            serializers=dict.fromkeys(_MEDIA_TYPES, _Bytes()),
            meta_header=False,
        )
    except (ValueError, OSError) as error:
        raise UsageError(f"the sink's settings are refused: {error}", "see url, ca_file") from None


def _login_headers(settings: ElasticsearchSettings) -> Mapping[str, str]:
    if settings.api_key:
        if not re.fullmatch(r"[!-~]+", settings.api_key):
            raise UsageError("the API key holds a character that no key has", "see api_key")
        return {"authorization": f"ApiKey {settings.api_key}"}
    if settings.login is None:
        return {}
    text = ":".join(settings.login).encode()
    return {"authorization": f"Basic {base64.b64encode(text).decode()}"}


def _no_answer(where: str, error: TransportError) -> SinkUnavailable:
    if isinstance(error, TlsError):
        hint = "set ca_file to the certificate that signed the sink's, or use https:// or http://"
        return SinkUnavailable(f"no TLS connection to the sink at {where}", hint)
    what = " ".join(str(error.message).split())[:200]
    return SinkUnavailable(f"the sink at {where} does not answer: {what}", "is it running?")


def refused(what: str, status: int, kind: str, reason: str) -> TxidSyncError:
    """The error to raise for a request that was answered with a refusal."""
    if status == 401:
        return PreconditionError(
            f"the sink does not accept this login ({what}: 401)", "see user, password, api_key"
        )
    if status == 403 and kind != "cluster_block_exception":
        return PreconditionError(
            f"the sink forbids {what}: {reason or kind or status}",
            "the rights needed are listed in docs/sink-errors.md",
        )
    text = f"the sink refused {what}: {status} {kind or 'no JSON'} {reason}".rstrip()
    foreign = not kind and not reason and status not in (405, 406, 415)  # a proxy's page, say
    if foreign or status in (403, 408, 429) or status >= 500:
        return SinkUnavailable(text)
    return PreconditionError(text)


def quoted(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")
