"""Configuration: a TOML file, the environment and flags become one checked `Config`.

Parsing is pure: `parse` takes plain mappings.  Precedence: flags, then the environment, then the
file, then fallbacks (POSTGRES_CONFIG, ELASTICSEARCH_URL), then defaults.  Whatever is unknown, of
the wrong type or out of range raises UsageError that names file, section and key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, replace
from pathlib import Path
from typing import Any

from txid_sync.config_documents import parse_documents
from txid_sync.config_place import Place, kind_of
from txid_sync.dsn import DSN_HINT, is_dsn
from txid_sync.errors import UsageError
from txid_sync.model import Document
from txid_sync.settings import (
    DOCUMENT_KEYS,
    ENVIRONMENT_PREFIX,
    SECTIONS,
    Config,
    SinkSettings,
    Value,
    default_of,
    environment_name,
    settings_of,
)

DEFAULT_FILE = "txid-sync.toml"
FALLBACKS = {"source.dsn": "POSTGRES_CONFIG", "sink.url": "ELASTICSEARCH_URL"}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_VARIABLE = re.compile(r"\$\$\{|\$\{(\w+)\}")
# Up to the last `@` before a slash: a password may hold one itself.
_URL_PASSWORD = re.compile(r"(://[^:/@,\s]*:)[^/,\s]*@")
_DSN_PASSWORD = re.compile(r"(\b(?:ssl)?password)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s&\\]|\\.)*)")
_PIPELINE_NAME = re.compile(r"[\w.-]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Given:
    """What was given: the file's tables, the environment, and flags as `section.key` -> text."""

    tables: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)
    file: str = DEFAULT_FILE


def read(
    path: str | None, environment: Mapping[str, str], flags: Sequence[str] = ()
) -> Config:
    """The configuration of a process; `path` None: txid-sync.toml here, if there is one.

    `flags` are texts of the form section.key=value.  Raises UsageError.
    """
    file = path or DEFAULT_FILE
    tables: Mapping[str, Any] = {}
    if path is not None or Path(file).exists():
        tables = _read_tables(file)
    return parse(Given(tables, environment, _split_flags(flags), file), read_secret)


def parse(given: Given, read_secret: Callable[[str], str]) -> Config:
    """The effective configuration; `read_secret` gives the text of a `*_file`."""
    place = Place(given.file)
    place.refuse_unknown(given.tables, (*SECTIONS, "document"), "section")
    _refuse_unknown_variables(given.environment)
    origins: dict[str, str] = {}
    values = {
        section: SECTIONS[section](**_values(given, section, origins)) for section in SECTIONS
    }
    _check_pipeline(given, values["pipeline"].name)
    _check_dsn(values["source"].dsn, origins["source.dsn"])
    sink: SinkSettings | None = None
    if _has_sink(given):
        sink = _with_secrets(values["sink"], origins, read_secret)
    else:
        origins = {key: text for key, text in origins.items() if not key.startswith("sink.")}
    documents = parse_documents(given.tables.get("document", []), given.file)
    pipeline, source, status = values["pipeline"], values["source"], values["status"]
    return Config(pipeline, source, sink, documents, origins, status)


def shown(config: Config) -> list[tuple[str, str, str]]:
    """Every setting as (section.key, value, origin); secrets are left out."""
    rows = []
    for section in SECTIONS:
        values = getattr(config, section)
        for setting in settings_of(section) if values is not None else ():
            value = getattr(values, setting.name)
            text = redacted(setting.name, str(value)) if setting.metadata.get("secret") else value
            if type(text) is bool:
                text = str(text).lower()
            key = f"{section}.{setting.name}"
            rows.append((key, str(text), config.origins[key]))
    return rows


def document_values(document: Document) -> dict[str, object]:
    """What is set of a document, by key."""
    values = {key: getattr(document, key) for key in DOCUMENT_KEYS}
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in values.items()
        if value
    }


def redacted(key: str, value: str) -> str:
    """A secret's text without its secrets: passwords in connection strings and URLs, or all of it.

    >>> redacted("url", "https://u:p@h:9200"), redacted("dsn", "host=h password = 'a b' user=u")
    ('https://u:***@h:9200', 'host=h password=*** user=u')
    >>> redacted("dsn", "postgresql://u:p@h/d?sslpassword=x&a=b"), redacted("password", "x")
    ('postgresql://u:***@h/d?sslpassword=***&a=b', '***')
    """
    if key not in ("dsn", "url"):
        return "***" if value else ""
    value = _URL_PASSWORD.sub(r"\1***@", value)
    return _DSN_PASSWORD.sub(r"\1=***", value)


def _read_tables(file: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{file}: {error.strerror}", "name the configuration with --config"
        ) from None
    except ValueError as error:
        raise UsageError(f"{file}: not TOML: {error}") from None


def read_secret(file: str) -> str:
    """The text of a `*_file`, without its line end; raises UsageError."""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not a text"
        raise UsageError(f"{file}: {what}") from None


def _split_flags(flags: Sequence[str]) -> Mapping[str, str]:
    place, known = Place("--set"), [f"{s}.{f.name}" for s in SECTIONS for f in settings_of(s)]
    values: dict[str, str] = {}
    for flag in flags:
        key, equals, value = flag.partition("=")
        if not equals:
            raise place.wrong(key, "has no value", "write --set section.key=value")
        place.refuse_unknown([key], known)
        values[key] = value
    return values


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """A misspelt variable would else be ignored in silence."""
    known = [environment_name(s, f.name) for s in SECTIONS for f in settings_of(s)]
    sections = tuple(f"{ENVIRONMENT_PREFIX}{section}_".upper() for section in SECTIONS)
    given = [name for name in environment if name.startswith(sections)]
    Place("environment").refuse_unknown(given, known, "variable")


def _has_sink(given: Given) -> bool:
    """A sink has to be asked for; ELASTICSEARCH_URL alone only fills in its URL."""
    variables = (environment_name("sink", setting.name) for setting in settings_of("sink"))
    return (
        "sink" in given.tables
        or any(name in given.environment for name in variables)
        or any(key.startswith("sink.") for key in given.flags)
    )


def _values(given: Given, section: str, origins: dict[str, str]) -> dict[str, Value]:
    table = given.tables.get(section, {})
    place = Place(given.file, section)
    if not isinstance(table, dict):
        raise Place(given.file).wrong(section, f"must be a section, not {kind_of(table)}")
    settings = settings_of(section)
    place.refuse_unknown(table, [setting.name for setting in settings])
    values = {}
    for setting in settings:
        values[setting.name], origins[f"{section}.{setting.name}"] = _value(
            given, section, setting
        )
    return values


def _value(given: Given, section: str, setting: Field[Any]) -> tuple[Value, str]:
    """One value and its origin."""
    key, variable = f"{section}.{setting.name}", environment_name(section, setting.name)
    table, fallback = given.tables.get(section, {}), FALLBACKS.get(key, "")
    if key in given.flags:
        value = _from_text(Place("--set", section), setting, given.flags[key])
        return value, "flag --set"
    if variable in given.environment:
        place = Place(f"environment {variable}", section)
        return _from_text(place, setting, given.environment[variable]), f"environment {variable}"
    if setting.name in table:
        place = Place(given.file, section)
        found = _expanded(place, setting.name, table[setting.name], given.environment)
        return _checked(place, setting, found), f"file {given.file}"
    if given.environment.get(fallback):
        place = Place(f"environment {fallback}", section)
        return _from_text(place, setting, given.environment[fallback]), f"environment {fallback}"
    return default_of(setting), "default"


def _from_text(place: Place, setting: Field[Any], text: str) -> Value:
    default = default_of(setting)
    value: object = text
    if isinstance(default, bool):
        word = text.strip().lower()
        value = True if word in _TRUE else False if word in _FALSE else text
    elif not isinstance(default, str):
        try:
            value = type(default)(text)
        except ValueError:
            what = kind_of(default)
            raise place.wrong(setting.name, f"must be {what}, not {text!r}") from None
    return _checked(place, setting, value)


def _expanded(place: Place, key: str, value: object, environment: Mapping[str, str]) -> object:
    """`${NAME}` in texts becomes that variable's value, `$${` a plain `${`."""

    def variable(match: re.Match[str]) -> str:
        if match[1] is None:
            return "${"
        if match[1] not in environment:
            raise place.wrong(key, f"uses ${{{match[1]}}}, which is not in the environment")
        return environment[match[1]]

    if isinstance(value, list):
        return [_expanded(place, key, element, environment) for element in value]
    return _VARIABLE.sub(variable, value) if isinstance(value, str) else value


def _checked(place: Place, setting: Field[Any], value: object) -> Value:
    rules, key, default = setting.metadata, setting.name, default_of(setting)
    if rules.get("many") and isinstance(value, list):
        value = ",".join(place.check_texts(key, value))
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise place.wrong(key, f"must be {kind_of(default)}, not {kind_of(value)}")
    assert isinstance(value, str | int | float)
    if isinstance(value, str):
        _check_text(place, setting, value)
    elif "least" in rules and not rules["least"] <= value <= rules["most"]:
        raise place.wrong(key, f"is {value}; it must be {rules['least']} to {rules['most']}")
    return value


def _check_text(place: Place, setting: Field[Any], value: str) -> None:
    rules, key = setting.metadata, setting.name
    if "choices" in rules:
        place.check_choice(key, value, rules["choices"])
    if rules.get("index"):
        place.check_index(key, value)
    if rules.get("address") and value:
        place.check_address(key, value)
    if rules.get("many"):
        place.check_text(key, value)


def _check_pipeline(given: Given, name: str) -> None:
    if not _PIPELINE_NAME.fullmatch(name):
        raise Place(given.file, "pipeline").wrong(
            "name", f"is {name!r}; it must be 1 to 100 letters, digits, '.', '_' or '-'"
        )


def _check_dsn(dsn: str, origin: str) -> None:
    """Raise UsageError, which does not quote it, if libpq cannot read it."""
    if not is_dsn(dsn):
        place = Place(origin.partition(" ")[2] or origin, "source")
        raise place.wrong("dsn", "is not a libpq connection string", DSN_HINT)


def _with_secrets(
    sink: SinkSettings, origins: dict[str, str], read_secret: Callable[[str], str]
) -> SinkSettings:
    """The sink with what its `*_file` settings point to."""
    for setting in settings_of("sink"):
        target, file = setting.metadata.get("file_for"), getattr(sink, setting.name)
        if not target or not file:
            continue
        origin = origins[f"sink.{setting.name}"]
        place = Place(origin.partition(" ")[2], "sink")
        if getattr(sink, target):
            raise place.wrong(setting.name, f"and {target} are both given", "keep one of them")
        try:
            secret = read_secret(file)
        except UsageError as error:
            raise place.wrong(setting.name, f"names {error.message}") from None
        if not secret:
            raise place.wrong(setting.name, f"names {file}, which is empty")
        sink = replace(sink, **{target: secret})
        origins[f"sink.{target}"] = f"file {file}"
    return sink
