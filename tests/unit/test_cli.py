"""The command line without servers: help, errors, exit codes, and docs that follow the code."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import txid_sync.commands.config
from txid_sync import logs, ui
from txid_sync.check import Point, State, broken, exit_code, failed, ok, warning
from txid_sync.cli import COMMANDS, cli
from txid_sync.dev import reference
from txid_sync.errors import (
    DeleteBrake,
    ExitCode,
    PreconditionError,
    SinkUnavailable,
    SourceUnavailable,
    TakenOver,
    TxidSyncError,
    UsageError,
)

ROOT = Path(__file__).resolve().parents[2]
ALL = dict(reference.commands())


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help(name: str) -> None:
    """`--help` works and says what the command does."""
    done = CliRunner().invoke(cli, [*name.split()[1:], "--help"])
    assert done.exit_code == 0
    assert done.stdout.startswith("Usage: ")
    assert ALL[name].help


@pytest.mark.parametrize("name", ALL)
def test_every_option_has_an_environment_twin_and_help(name: str) -> None:
    """Each option shows its variable."""
    for option in ALL[name].params:
        if isinstance(option, click.Option) and option.name not in ("help", "version"):
            assert option.help, option.name
            assert option.envvar, option.name
            assert option.show_envvar, option.name


def test_commands_are_the_listed_ones() -> None:
    """The list that `--help` shows without importing anything agrees with the commands."""
    for name, help_text in COMMANDS.items():
        command = ALL[f"txid-sync {name}"]
        assert command.name == name
        assert (command.help or "").split("\n")[0].rstrip(".:") in help_text or command.help


def test_help_starts_without_heavy_modules() -> None:
    """The list of commands needs no driver and no client."""
    code = (
        "import sys; from txid_sync.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "heavy = {'psycopg2', 'elasticsearch', 'elastic_transport', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version_on_stdout() -> None:
    """--version is data."""
    done = CliRunner().invoke(cli, ["--version"])
    assert re.fullmatch(r"txid-sync, version \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run", "--onec"], "No such option"),
        (["run", "--log-format", "xml"], "is not one of 'text', 'json'"),
        (["run"], "error: the configuration has no [[document]]"),
        (["status"], "error: the configuration has no [[document]]"),
        (["check"], "error: the configuration has no [[document]]"),
        (["resync"], "error: the configuration has no [[document]]"),
        (["run", "-c", "missing.toml"], "error: missing.toml: No such file or directory"),
        (["run", "-s", "pipeline.lod=1"], "hint: did you mean 'pipeline.load'?"),
    ],
)
def test_W01_wrong_usage_is_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong arguments and wrong configuration: a message on stderr, nothing on stdout."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == ExitCode.USAGE
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def raising(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let `config show` raise this error."""

    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(txid_sync.commands.config, "shown", fail)


@pytest.mark.parametrize(
    "kind",
    [UsageError, SourceUnavailable, SinkUnavailable, PreconditionError, TakenOver, DeleteBrake],
)
def test_errors_are_one_line_and_a_hint(
    kind: type[TxidSyncError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of ours: its message, its hint, its exit code, no traceback."""
    raising(monkeypatch, kind("what\n is wrong", "do this"))
    done = CliRunner().invoke(cli, ["config", "show"])
    assert done.exit_code == kind.exit_code
    assert done.stderr == "error: what is wrong\nhint: do this\n"


def test_an_unexpected_error_is_exit_code_70(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug: one line that says how to get the traceback; --debug gives it."""
    raising(monkeypatch, KeyError("x"))
    done = CliRunner().invoke(cli, ["config", "show"])
    assert done.exit_code == ExitCode.BUG
    assert done.stderr.startswith("error: unexpected KeyError: 'x'\nhint: ")
    assert "--debug" in done.stderr
    done = CliRunner().invoke(cli, ["config", "show", "--debug"])
    assert done.exit_code == ExitCode.BUG
    assert "Traceback" in done.stderr


def test_config_show_tells_origins_and_no_secret(tmp_path: Path) -> None:
    """Text and JSON have value and origin of a setting, and not the password."""
    file = tmp_path / "x.toml"
    file.write_text('[sink]\npassword = "hush"\n[[document]]\ntable = "a.b"\n')
    environment = {"TXID_SYNC_SOURCE_DSN": "password=hush dbname=d", "TXID_SYNC_CONFIG": str(file)}
    done = CliRunner().invoke(cli, ["config", "show"], env=environment)
    assert "hush" not in done.output
    assert "password=*** dbname=d" in done.stdout
    assert "environment TXID_SYNC_SOURCE_DSN" in done.stdout
    assert "document table='a.b' index='b'" in done.stdout
    done = CliRunner().invoke(cli, ["config", "show", "--json"], env=environment)
    value = json.loads(done.stdout)
    assert {"key": "sink.password", "value": "***", "origin": f"file {file}"} in value["settings"]
    assert value["documents"] == [{"table": "a.b", "index": "b"}]


def test_check_points() -> None:
    """A point is one line; away servers win over failures in the exit code."""
    assert ok("a", "b").line == "a: OK b"
    assert warning("a", "b\nc", "d").line == "a: WARNING b c (d)"
    assert failed("a", "b").as_json() == {"name": "a", "state": "FAILED", "detail": "b", "fix": ""}
    assert exit_code([ok("a", ""), warning("b", "")]) == ExitCode.OK
    lost = broken("c", PreconditionError("x")), broken("d", SinkUnavailable("x"))
    assert isinstance(lost[0], Point)
    assert lost[0].state is State.FAILED
    assert exit_code([*lost[:1]]) == ExitCode.NOT_EQUAL
    assert exit_code([failed("a", ""), *lost]) == ExitCode.SINK_UNREACHABLE
    assert exit_code([*lost, broken("e", SourceUnavailable("x"))]) == ExitCode.SOURCE_UNREACHABLE


def test_json_log_lines() -> None:
    """A message is one JSON object with its extra fields."""
    record = logging.makeLogRecord(
        {"msg": "a %s", "args": ("b",), "levelname": "INFO", "name": "n", "action": "status"}
    )
    value = json.loads(logs.JsonFormatter().format(record))
    assert value.pop("time").endswith("+00:00")
    assert value == {"level": "info", "logger": "n", "message": "a b", "action": "status"}


def test_columns_are_aligned() -> None:
    """Cells of one column begin at one place."""
    assert ui.columns([("a", "b"), ("ccc", "d")]) == ["a    b", "ccc  d"]


@pytest.mark.parametrize("name", reference.PAGES)
def test_docs_follow_the_code(name: str) -> None:
    """The generated parts of the docs are those that the code gives now."""
    page = (reference.DOCS / name).read_text(encoding="utf-8")
    assert "<!-- generated:" in page
    assert reference.updated(page) == page, "run: python -m txid_sync.dev.reference"


def test_every_exit_code_is_explained() -> None:
    """The first table of docs/exit-codes.md has every code, and no other."""
    page = (reference.DOCS / "exit-codes.md").read_text(encoding="utf-8").partition("<!--")[0]
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)]
    assert codes == [code.value for code in ExitCode]


def test_sync_py_says_what_is_wrong() -> None:
    """The demo's syncer: help, wrong table names, exit code 2."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "sync.py"), "--no-crash", "--tables", "a.b.c"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith("error: sync.py: [document 1] table is 'a.b.c'")
    assert done.stderr.count("\n") == 1
