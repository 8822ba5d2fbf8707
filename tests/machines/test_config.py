"""The configuration as a state machine: any file, environment and arguments, through the program.

Either `txid-sync config show` gives a configuration that is the same when it is read again, with
every value from the highest place that has it, or it says in one line where the mistake is.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import txid_sync.config as config_module
from tests.machines import configurations
from tests.machines.configurations import (
    SETTINGS,
    as_text,
    documents,
    fallbacks,
    file_text,
    texts,
    values,
)
from tests.machines.support import finds, search
from txid_sync.cli import cli
from txid_sync.config import FALLBACKS, Given, parse, read
from txid_sync.errors import ExitCode, UsageError
from txid_sync.settings import Config, Value, environment_name

UNKNOWN = ("piepline", "pipeline_nmae", "document", "")


class ConfigMachine(RuleBasedStateMachine):
    """Every rule writes or removes something; after each one the program is asked."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.file = Path(self._folder.name) / "c.toml"
        self.sections: dict[str, dict[str, object]] = {}
        self.documents: list[dict[str, object]] = []
        self.environment: dict[str, str] = {}
        self.arguments: dict[str, str] = {}
        self.broken = ""

    def teardown(self) -> None:
        """Remove the file."""
        self._folder.cleanup()

    # -- rules --------------------------------------------------------------------------------

    @rule(pair=values)
    def write_in_file(self, pair: tuple[str, object]) -> None:
        """A setting in the file."""
        section, _, key = pair[0].partition(".")
        self.sections.setdefault(section, {})[key] = pair[1]

    @rule(pair=texts)
    def set_variable(self, pair: tuple[str, str]) -> None:
        """A setting in the environment."""
        section, _, key = pair[0].partition(".")
        self.environment[environment_name(section, key)] = pair[1]

    @rule(name=st.sampled_from(sorted(FALLBACKS.values())), text=fallbacks)
    def set_fallback(self, name: str, text: str) -> None:
        """A variable that other programs know too."""
        self.environment[name] = text

    @rule(pair=texts)
    def give_argument(self, pair: tuple[str, str]) -> None:
        """A setting as an argument."""
        self.arguments[pair[0]] = pair[1]

    @rule(key=st.sampled_from(sorted(SETTINGS)), data=st.data(), argued=st.booleans())
    def set_everywhere(self, key: str, data: st.DataObject, argued: bool) -> None:
        """Different good values in the file, in the environment and perhaps as an argument."""
        one, two, three = (data.draw(configurations.good(key)) for _ in range(3))
        self.write_in_file((key, one))
        self.set_variable((key, as_text(two)))
        if argued:
            self.give_argument((key, as_text(three)))

    @rule(entry=documents)
    def add_document(self, entry: dict[str, object]) -> None:
        """A document in the file."""
        self.documents.append(entry)

    @rule(what=st.sampled_from(["file", "variable", "argument", "text"]), name=st.integers(0, 3))
    def misspell(self, what: str, name: int) -> None:
        """Something that nobody knows, or text that is no TOML."""
        if what == "file":
            self.sections.setdefault("pipeline", {})[UNKNOWN[name] or "x"] = 1
        elif what == "variable":
            self.environment["TXID_SYNC_PIPELINE_NMAE"] = "x"
        elif what == "argument":
            self.arguments[UNKNOWN[name]] = "x"
        else:
            self.broken = ("[", "a = ", "\0", "[pipeline]\n[pipeline]")[name]

    @rule()
    def correct(self) -> None:
        """The mistakes are taken out: of each place only what is good stays."""
        self.broken = ""
        for key in list(self.arguments):
            if not accepted({}, {}, {key: self.arguments[key]}):
                del self.arguments[key]
        for name in list(self.environment):
            if not accepted({}, {name: self.environment[name]}, {}):
                del self.environment[name]
        for section, keys in self.sections.items():
            for key in list(keys):
                if not accepted({section: {key: keys[key]}}, {}, {}):
                    del keys[key]
        self.documents = [d for d in self.documents if accepted({"document": [d]}, {}, {})][:1]

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def the_program_tells_or_refuses(self) -> None:
        """`config show --json`: a configuration, or one line; never a traceback."""
        text = file_text(self.sections, self.documents) + self.broken
        self.file.write_text(text, encoding="utf-8")
        flags = [f"{key}={value}" for key, value in self.arguments.items()]
        shown = self._run(flags, "--json")
        assert "Traceback" not in shown.output
        assert isinstance(shown.exception, SystemExit | None)
        try:
            config = read(str(self.file), self.environment, flags)
        except UsageError as error:
            assert shown.exit_code == ExitCode.USAGE
            assert shown.stdout == ""
            self._check_refusal(shown.stderr, error)
            return
        assert (shown.exit_code, shown.stderr) == (0, "")
        self._check_precedence(config)
        check_round_trip(config, json.loads(shown.stdout))
        assert self._run(flags).exit_code == 0

    def _run(self, flags: list[str], *more: str) -> Result:
        arguments = ["config", "show", *more, "-c", str(self.file)]
        for flag in flags:
            arguments += ["-s", flag]
        return CliRunner().invoke(cli, arguments, env=self.environment)

    def _check_refusal(self, said: str, error: UsageError) -> None:
        """One line that names where, and perhaps one hint."""
        lines = said.splitlines()
        assert lines[0].startswith("error: "), said
        assert [line for line in lines[1:] if not line.startswith("hint: ")] == []
        assert len(lines) <= 2
        places = (str(self.file), "environment", "TXID_SYNC_", "POSTGRES_CONFIG", "--set")
        assert error.message.startswith(places), error.message

    def _check_precedence(self, config: Config) -> None:
        """Every value comes from the highest place that has it."""
        for key, origin in config.origins.items():
            section, _, name = key.partition(".")
            variable = environment_name(section, name)
            wanted: object = None
            if key in self.arguments:
                assert origin == "flag --set"
                wanted = self.arguments[key]
            elif variable in self.environment:
                assert origin == f"environment {variable}"
                wanted = self.environment[variable]
            elif name in self.sections.get(section, {}):
                assert origin == f"file {self.file}"
                wanted = self.sections[section][name]
            elif self.environment.get(FALLBACKS.get(key, "")):
                assert origin == f"environment {FALLBACKS[key]}"
                wanted = self.environment[FALLBACKS[key]]
            else:
                assert origin == "default"
                wanted = SETTINGS[key].default
            found = getattr(getattr(config, section), name)
            assert same(found, wanted), (key, found, wanted)


def same(found: Value, given: object) -> bool:
    """Whether a value is what was given as a value or as a text."""
    if isinstance(given, list):
        return found == ",".join(given)
    if isinstance(found, bool):
        word = as_text(given).strip().lower()
        return word in (("true", "yes", "on", "1") if found else ("false", "no", "off", "0"))
    if isinstance(found, str):
        text = str(given)
        return found in (text, text.replace("$${", "${"))
    assert isinstance(given, str | int | float)
    return found == type(found)(given)


def accepted(
    tables: dict[str, Any], environment: dict[str, str], flags: dict[str, str]
) -> bool:
    """Whether a configuration of only this is a good one."""
    if any(key not in SETTINGS for key in flags):
        return False
    try:
        parse(Given(tables, environment, flags), lambda file: f"content of {file}")
    except UsageError:
        return False
    return not any(value for key, value in flags.items() if key.endswith("_file"))


def check_round_trip(config: Config, shown: dict[str, Any]) -> None:
    """What is shown, given as arguments and documents, is the same configuration."""
    given = {entry["key"]: entry["value"] for entry in shown["settings"]}
    secret = {key for key, setting in SETTINGS.items() if setting.metadata.get("secret")}
    secret |= {key for key in SETTINGS if key.endswith("_file")}
    flags = {key: value for key, value in given.items() if key not in secret}
    again = parse(Given({"document": shown["documents"]}, {}, flags), str)
    assert again.documents == config.documents
    assert again.pipeline == config.pipeline
    for section in ("source", "sink"):
        one, other = getattr(config, section), getattr(again, section)
        assert (one is None) == (other is None)
        if one is not None:
            names = {key.partition(".")[2] for key in secret if key.startswith(section)}
            kept = {name: getattr(one, name) for name in names}
            assert replace(other, **kept) == one


def test_W01_the_config_machine(seed: int) -> None:
    """Whatever is written anywhere is taken as it is, or refused in a line that says where."""
    search(ConfigMachine, seed, examples=40, steps=12)


def _environment_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file wins over the environment."""
    original = config_module._value

    def value(given: Given, section: str, setting: Any) -> tuple[Value, str]:
        if setting.name in given.tables.get(section, {}):
            given = replace(given, environment={})
        return original(given, section, setting)

    monkeypatch.setattr(config_module, "_value", value)


def _no_check_of_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that is no table of texts is a traceback."""
    monkeypatch.setattr(
        config_module, "parse_documents", lambda value, _: tuple(d["table"] + "" for d in value)
    )


def _rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown is not what is used."""
    shown = config_module.shown

    def rounded(config: Config) -> list[tuple[str, str, str]]:
        return [(key, value[:6], origin) for key, value, origin in shown(config)]

    monkeypatch.setattr("txid_sync.commands.config.shown", rounded)


@pytest.mark.parametrize("mutant", [_environment_last, _no_check_of_documents, _rounded])
def test_the_config_machine_finds_broken_rules(
    mutant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is sharp: it fails over a configuration with one rule broken."""
    mutant(monkeypatch)
    machine = type("Broken", (ConfigMachine,), {})
    assert finds(machine, 200, 12, AssertionError, TypeError, KeyError, AttributeError)
