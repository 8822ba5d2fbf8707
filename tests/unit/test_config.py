"""Configuration: every key, every wrong type, precedence, secrets; nothing unknown passes."""

from __future__ import annotations

from dataclasses import Field
from pathlib import Path
from typing import Any

import pytest

from txid_sync.config import Given, document_values, parse, read, redacted, shown
from txid_sync.config_documents import default_index, table_parts
from txid_sync.errors import ExitCode, UsageError
from txid_sync.settings import SECTIONS, Config, environment_name, settings_of

EVERY = [(section, setting) for section in SECTIONS for setting in settings_of(section)]
NAMES = [f"{section}.{setting.name}" for section, setting in EVERY]
every_setting = pytest.mark.parametrize(("section", "setting"), EVERY, ids=NAMES)


def secrets(file: str) -> str:
    """A reader of secret files that needs no files."""
    return f"content of {file}"


def config(
    tables: dict[str, Any], environment: dict[str, str] | None = None, **flags: str
) -> Config:
    """Parse tables, an environment and flags (with `__` for the dot)."""
    given = {key.replace("__", "."): value for key, value in flags.items()}
    return parse(Given(tables, environment or {}, given), secrets)


def refusal(tables: dict[str, Any], environment: dict[str, str] | None = None) -> str:
    """The message of the UsageError that these tables raise, with its hint."""
    with pytest.raises(UsageError) as caught:
        config(tables, environment)
    assert caught.value.exit_code == ExitCode.USAGE
    return str(caught.value)


def another(setting: Field[Any]) -> bool | int | float | str:
    """A good value that is not the default."""
    if "choices" in setting.metadata:
        return str(setting.metadata["choices"][-1])
    if type(setting.default) is bool:
        return not setting.default
    if type(setting.default) is int:
        return setting.default + 1
    if type(setting.default) is float:
        return setting.default / 2
    return {"dsn": "dbname=other", "listen": "10.0.0.7:9464"}.get(setting.name, "other-name")


def value_of(found: Config, section: str, key: str) -> object:
    """The effective value, whatever section it is in."""
    return getattr(getattr(found, section), key)


@every_setting
def test_every_key_is_taken_from_the_file(section: str, setting: Field[Any]) -> None:
    """A value in the file wins over the default and is told to come from the file."""
    value = another(setting)
    found = config({section: {setting.name: value}})
    assert value_of(found, section, setting.name) == value
    assert found.origins[f"{section}.{setting.name}"] == "file txid-sync.toml"


@every_setting
def test_every_key_has_an_environment_twin(section: str, setting: Field[Any]) -> None:
    """A variable wins over the file."""
    value, variable = another(setting), environment_name(section, setting.name)
    text = str(value).lower() if type(value) is bool else str(value)
    found = config({section: {setting.name: setting.default}}, {variable: text})
    assert value_of(found, section, setting.name) == value
    assert found.origins[f"{section}.{setting.name}"] == f"environment {variable}"


@every_setting
def test_every_key_can_be_set_by_a_flag(section: str, setting: Field[Any]) -> None:
    """A flag wins over the environment."""
    value, variable = another(setting), environment_name(section, setting.name)
    text = str(value).lower() if type(value) is bool else str(value)
    default = str(setting.default) or "x"
    flags = {f"{section}.{setting.name}": text}
    found = parse(Given({}, {variable: default}, flags), secrets)
    assert value_of(found, section, setting.name) == value
    assert found.origins[f"{section}.{setting.name}"] == "flag --set"


WRONG: list[Any] = [None, True, 7, 7.5, "text", ["a"], {"a": 1}]


@every_setting
def test_W01_every_wrong_type_is_refused(section: str, setting: Field[Any]) -> None:
    """A value of another TOML type names file, section and key."""
    kind = type(setting.default)
    good = {kind, int} if kind is float else {kind}
    if setting.metadata.get("many"):
        good.add(list)
    for value in WRONG:
        if type(value) in good:
            continue
        text = refusal({section: {setting.name: value}})
        assert text.startswith(f"txid-sync.toml: [{section}] {setting.name} must be a")


@every_setting
def test_values_out_of_range_are_refused(section: str, setting: Field[Any]) -> None:
    """Just below and above the range is refused, the ends of it are taken; so is no NaN."""
    if "least" not in setting.metadata:
        return
    least, most = setting.metadata["least"], setting.metadata["most"]
    for value in (least, most):
        config({section: {setting.name: value}})
    for value in (least - 1, most + 1):
        assert "it must be" in refusal({section: {setting.name: value}})
    if type(setting.default) is float:
        assert "it must be" in refusal({section: {setting.name: float("nan")}})


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"sorce": {}}, "txid-sync.toml: sorce is no known section (did you mean 'source'?)"),
        ({"sink": {"urls": "x"}}, "[sink] urls is no known key (did you mean 'url'?)"),
        ({"pipeline": {"zzz": 1}}, "[pipeline] zzz is no known key (known: name, load"),
        ({"sink": {"type": "elasticsaerch"}}, "did you mean 'elasticsearch'?"),
        ({"sink": 3}, "txid-sync.toml: sink must be a section, not a whole number"),
        ({"sink": {"url": []}}, "[sink] url must not be empty"),
        ({"sink": {"url": ["a", 3]}}, "[sink] url must be a text, not a whole number"),
        ({"pipeline": {"name": ""}}, "[pipeline] name is ''"),
        ({"sink": {"progress_index": "Upper"}}, "must be lower case"),
        ({"document": {"table": "a"}}, "must be written as [[document]]"),
        ({"document": [{}]}, "[document 1] table is missing"),
        ({"document": [{"table": "a", "colums": []}]}, "did you mean 'columns'?"),
        ({"document": [{"table": 3}]}, "[document 1] table must be a text"),
        ({"document": [{"table": "a.b.c"}]}, "which is no name or schema.name of a table"),
        ({"document": [{"table": "a", "index": "A"}]}, "[document a] index is 'A'"),
        ({"document": [{"table": "a", "index": "a b"}]}, "which is no name of an index"),
        ({"document": [{"table": "a", "index": "_a"}]}, "which is no name of an index"),
        ({"document": [{"table": "a", "index": "a" * 246}]}, "longer than 245 bytes"),
        ({"document": [{"table": "a", "columns": "id"}]}, "columns must be an array"),
        ({"document": [{"table": "a", "columns": ["id", "id"]}]}, "names 'id' twice"),
        ({"document": [{"table": "a", "where": ""}]}, "where must not be empty"),
        ({"document": [{"table": "a", "capture": "rows"}]}, "did you mean 'row'?"),
        ({"document": [{"table": "a", "mapping": 3}]}, "mapping must be a table"),
        ({"document": [{"table": "a", "mapping": {"x": "keyword"}}]}, "mapping.x must be a table"),
        (
            {"document": [{"table": "a.t"}, {"table": "b.t"}]},
            "[document 2] index is 't', which document a.t writes already (give b.t an index",
        ),
    ],
)
def test_W01_what_is_wrong_is_named(tables: dict[str, Any], message: str) -> None:
    """Whatever is unknown or wrong is refused with its place, and the nearest good name."""
    assert message in refusal(tables)


def test_W01_unknown_variables_and_flags_are_refused() -> None:
    """A misspelt variable or flag is an error, not silently without effect."""
    assert "did you mean 'TXID_SYNC_SOURCE_DSN'?" in refusal({}, {"TXID_SYNC_SOURCE_DNS": "x"})
    with pytest.raises(UsageError, match=r"--set: pipeline\.lod is no known key"):
        read(None, {}, ["pipeline.lod=1"])
    with pytest.raises(UsageError, match="has no value"):
        read(None, {}, ["pipeline.load"])


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("YES", True), ("1", True), ("on", True), ("false", False), ("0", False)],
)
def test_booleans_as_text(text: str, value: bool) -> None:
    """The usual words are booleans in the environment."""
    assert config({}, {"TXID_SYNC_PIPELINE_LOAD": text}).pipeline.load is value


@pytest.mark.parametrize("text", ["", "maybe", "2"])
def test_other_words_are_no_booleans(text: str) -> None:
    """Anything else is refused."""
    assert "load must be a boolean" in refusal({}, {"TXID_SYNC_PIPELINE_LOAD": text})


def test_numbers_as_text() -> None:
    """A text that is no number is refused and told."""
    message = refusal({}, {"TXID_SYNC_PIPELINE_IN_FLIGHT": "four"})
    assert "[pipeline] in_flight must be a whole number, not 'four'" in message


def test_W14_without_a_sink_it_is_a_dry_run() -> None:
    """Only [sink], its variables or flags make a sink; ELASTICSEARCH_URL alone does not."""
    assert config({}).sink is None
    assert config({}, {"ELASTICSEARCH_URL": "http://x:9200"}).sink is None
    assert config({"sink": {}}).sink is not None
    assert config({}, {"TXID_SYNC_SINK_URL": "http://x:9200"}).sink is not None
    assert config({}, sink__type="discard").sink is not None


def test_fallback_variables() -> None:
    """POSTGRES_CONFIG and ELASTICSEARCH_URL count where nothing else is given."""
    environment = {"POSTGRES_CONFIG": "dbname=x", "ELASTICSEARCH_URL": "http://x:1"}
    found = config({"sink": {}}, environment)
    assert found.sink is not None
    assert (found.source.dsn, found.sink.url) == ("dbname=x", "http://x:1")
    assert found.origins["source.dsn"] == "environment POSTGRES_CONFIG"
    assert config({"source": {"dsn": "dbname=y"}}, environment).source.dsn == "dbname=y"


def test_variables_in_texts() -> None:
    """${NAME} is expanded in the file, $${ is not, and an unset one is an error."""
    tables = {"sink": {"password": "${SECRET}!", "user": "$${U}", "url": ["http://${H}:1"]}}
    found = config(tables, {"SECRET": "s", "H": "h"}).sink
    assert found is not None
    assert (found.password, found.user, found.url) == ("s!", "${U}", "http://h:1")
    assert "[sink] password uses ${SECRET}, which is not in" in refusal(tables, {"H": "h"})


def test_secrets_from_files(tmp_path: Path) -> None:
    """A *_file is read without its line end; it may not stand beside the value itself."""
    file = tmp_path / "secret"
    file.write_text("hush\n")
    toml = tmp_path / "x.toml"
    toml.write_text(f'[sink]\npassword_file = "{file}"\n')
    found = read(str(toml), {})
    assert found.sink is not None
    assert found.sink.password == "hush"
    assert found.origins["sink.password"] == f"file {file}"
    assert "are both given" in refusal({"sink": {"password": "a", "password_file": "b"}})
    file.write_text("")
    with pytest.raises(UsageError, match="which is empty"):
        read(str(toml), {})
    file.unlink()
    with pytest.raises(UsageError, match="No such file"):
        read(str(toml), {})


def test_a_document_with_everything() -> None:
    """Every key of a document arrives."""
    entry = {
        "table": "shop.orders", "index": "o", "columns": ["id", "x"], "where": "x > 1",
        "capture": "row", "mapping": {"x": {"type": "long"}},
    }  # fmt: skip
    (document,) = config({"document": [entry]}).documents
    assert document_values(document) == entry
    assert document.columns == ("id", "x")


def test_W05_default_index_names() -> None:
    """The index is named after the table, whatever its schema and quotes."""
    tables = ["orders", "Shop.Orders", '"Shop"."Order.Lines"', '"a""b"']
    assert [default_index(t) for t in tables] == ["orders", "orders", "order.lines", 'a"b']
    assert [table_parts(t) for t in ("", ".", "a.", ".a", "a b", '"a')] == [[]] * 6


@pytest.mark.parametrize(
    ("key", "value", "clean"),
    [
        ("dsn", "", ""),
        ("dsn", "dbname=x user=y", "dbname=x user=y"),
        ("dsn", "password=secret dbname=x", "password=*** dbname=x"),
        ("dsn", r"password='se\'cret it' dbname=x", "password=*** dbname=x"),
        ("dsn", r"password=se\ cret dbname=x", "password=*** dbname=x"),
        ("dsn", "sslpassword = secret", "sslpassword=***"),
        ("dsn", "postgresql://u:secret@h/d", "postgresql://u:***@h/d"),
        ("dsn", "postgresql://h/d?user=u&password=secret&a=b", None),
        ("url", "http://u:secret@h:1,http://h2:1", "http://u:***@h:1,http://h2:1"),
        ("url", "http://h:1,https://u:sec@ret@h2:1", "http://h:1,https://u:***@h2:1"),
        ("api_key", "secret", "***"),
    ],
)
def test_secrets_are_not_shown(key: str, value: str, clean: str | None) -> None:
    """Passwords inside connection strings and URLs are left out, the rest stays readable."""
    shown_text = redacted(key, value)
    assert "sec" not in shown_text
    if clean is not None:
        assert shown_text == clean


def test_shown_lists_every_setting_once() -> None:
    """`config show` has every setting with its origin, and no secret."""
    found = config({"sink": {"password": "hush", "url": "http://u:hush@h:1"}})
    rows = shown(found)
    assert [key for key, _, _ in rows] == NAMES
    assert "hush" not in str(rows)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A named file that is missing or no TOML is one clear error; the default may be missing."""
    with pytest.raises(UsageError, match="No such file"):
        read(str(tmp_path / "missing.toml"), {})
    broken = tmp_path / "broken.toml"
    broken.write_text("[sink\n")
    with pytest.raises(UsageError, match="not TOML"):
        read(str(broken), {})
    assert read(None, {}).documents == ()
