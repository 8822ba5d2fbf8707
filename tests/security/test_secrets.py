"""Secrets stay secret: in logs, errors, status, dumps of the settings and the process list."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.integration.cli_place import ROOT, Place, place
from tests.security.conftest import PASSWORD, USER, Certificates
from tests.security.gate import Gate
from tests.support import eventually
from txid_sync.errors import ExitCode

pytestmark = pytest.mark.integration

__all__ = ["place"]

SOURCE_PASSWORD = "s3cret-of-the-source"
SECRETS = (PASSWORD, SOURCE_PASSWORD)


@pytest.fixture
def guarded(place: Place, gate: Gate, certificates: Certificates) -> Place:
    """A place whose configuration holds secrets in every way there is."""
    (place.folder / "secret").write_text(PASSWORD)
    file = place.folder / "c.toml"
    text = file.read_text().replace(
        f'url = "{place.url}"',
        f'url = "{gate.url}"\nca_file = "{certificates.authority}"\nuser = "{USER}"\n'
        f'password_file = "{place.folder / "secret"}"',
    )
    file.write_text(text.replace('user=postgres"', f'user=postgres password={SOURCE_PASSWORD}"'))
    assert SOURCE_PASSWORD in file.read_text()
    return place


def told(found: subprocess.CompletedProcess[str]) -> str:
    """All that a command has said."""
    return found.stdout + found.stderr


def test_no_command_tells_a_secret(guarded: Place) -> None:
    """From init to uninstall, as text and as JSON, and with every log line there is."""
    said = [
        told(guarded.run(*command))
        for command in (
            ("init", "--dry-run"), ("init",), ("run", "--once", "--debug", "--log-format", "json"),
            ("status",), ("status", "--json"), ("config", "show"), ("config", "show", "--json"),
            ("resync",), ("run", "--once", "--debug"), ("uninstall", "--yes"),
        )
    ]  # fmt: skip
    for secret in SECRETS:
        assert all(secret not in text for text in said)
    assert len(guarded.documents("orders")) == 5  # so the secrets were used


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (("source.dsn", "host=127.0.0.1 port=1 password={source}"), ExitCode.SOURCE_UNREACHABLE),
        (("source.dsn", "postgresql://u:{source}@127.0.0.1:1/d"), ExitCode.SOURCE_UNREACHABLE),
        (("source.dsn", "nonsense password={source} x"), ExitCode.USAGE),
        (("sink.url", "https://u:{sink}@127.0.0.1:1"), ExitCode.SINK_UNREACHABLE),
        (("sink.url", "https://u:{sink}@:x"), ExitCode.USAGE),
        (("sink.url", "u:{sink}@h"), ExitCode.USAGE),
        (("sink.paswort", "{sink}"), ExitCode.USAGE),
        (("sink.api_key", "{sink}\n"), ExitCode.USAGE),
        (("sink.api_key", "{sink}é"), ExitCode.USAGE),
    ],
)
def test_no_error_tells_a_secret(
    guarded: Place, broken: tuple[str, str], code: ExitCode
) -> None:
    """Errors about a setting, or about the server behind it, leave the secret out."""
    value = broken[1].format(source=SOURCE_PASSWORD, sink=PASSWORD)
    guarded.run("init")
    done = subprocess.run(
        guarded.command("run", "--once", "--debug", "--set", f"{broken[0]}={value}"),
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, told(done)
    for secret in SECRETS:
        assert secret not in told(done)


def test_the_process_list_shows_no_secret(guarded: Place) -> None:
    """Neither arguments nor the connection's name hold one, from files or from the environment."""
    guarded.run("init")
    (guarded.folder / "secret").write_text("something else")
    environment = {**os.environ, "TXID_SYNC_SINK_PASSWORD": PASSWORD}
    file = guarded.folder / "c.toml"
    lines = [line for line in file.read_text().splitlines() if "password_file" not in line]
    file.write_text("\n".join(lines))
    with subprocess.Popen(
        guarded.command("run", "--debug"), env=environment, cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            eventually(lambda: len(shown(guarded)) == 5, 60)
            titles = Path(f"/proc/{process.pid}/cmdline").read_text()
            activity = guarded.sql("select application_name, query from pg_stat_activity")
        finally:
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[0]
    for secret in SECRETS:
        assert secret not in titles + said + repr(activity)
    assert process.returncode == 0


def shown(place: Place) -> list[str]:
    """The documents' ids; none while there is no index."""
    try:
        return list(place.documents("orders"))
    except OSError:
        return []
