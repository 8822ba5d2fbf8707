"""Generated configurations: a file, an environment and arguments, good and bad."""

from __future__ import annotations

import json
from dataclasses import Field
from typing import Any

from hypothesis import strategies as st

from txid_sync.settings import SECTIONS, settings_of

SETTINGS: dict[str, Field[Any]] = {
    f"{section}.{setting.name}": setting
    for section in SECTIONS
    for setting in settings_of(section)
}
JUNK = st.one_of(
    st.none().map(lambda _: ""), st.booleans(), st.integers(-(2**70), 2**70), st.floats(),
    st.text(max_size=12), st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(["${HOME_OF_X}", "$${x}", "yes", "1e3", " 7 ", "\u0663", "a\nb", "\x7f"]),
)  # fmt: skip
WORDS = st.text("abz-9.é_", min_size=1, max_size=8)


def good(key: str) -> st.SearchStrategy[Any]:
    """A value that the setting may have."""
    setting = SETTINGS[key]
    rules = setting.metadata
    if "choices" in rules:
        return st.sampled_from(rules["choices"])
    if type(setting.default) is bool:
        return st.booleans()
    if type(setting.default) is int:
        return st.integers(int(rules["least"]), int(rules["most"]))
    if type(setting.default) is float:
        return st.floats(float(rules["least"]), float(rules["most"]))
    if key == "source.dsn":
        return st.sampled_from(["", "dbname=d", "host=h user=u", "postgresql://u@h:5/d?a=b"])
    if key.endswith("_file"):
        return st.just("")
    if key == "status.listen":
        return st.sampled_from(["", "9464", ":9464", "[::1]:0", "10.0.0.7:9464"])
    if key == "sink.url":
        return st.sampled_from(["http://h:9200", "https://a:1,https://b:2"])
    return st.text("abz.9", min_size=1, max_size=8).filter(lambda text: text.strip("."))


values = st.sampled_from(sorted(SETTINGS)).flatmap(
    lambda key: st.tuples(st.just(key), st.one_of(good(key), good(key), good(key), JUNK))
)
texts = st.sampled_from(sorted(SETTINGS)).flatmap(
    lambda key: st.tuples(st.just(key), st.one_of(good(key), good(key), JUNK).map(as_text))
)
fallbacks = st.one_of(
    st.sampled_from(["", "dbname=d", "http://h:9200"]), WORDS, st.just("postgresql://h/d")
)
documents = st.fixed_dictionaries(
    {"table": st.one_of(WORDS, WORDS.map(lambda word: f'"{word}"."T"'), JUNK)},
    optional={
        "index": st.one_of(st.text("abc-", min_size=1, max_size=5), JUNK),
        "columns": st.one_of(st.lists(WORDS, max_size=3), JUNK),
        "where": st.one_of(WORDS, JUNK),
        "capture": st.one_of(st.sampled_from(["statement", "row"]), JUNK),
        "mapping": st.one_of(
            st.dictionaries(WORDS, st.just({"type": "keyword"}), max_size=2), JUNK
        ),
        "tabel": JUNK,
    },
)


def as_text(value: object) -> str:
    """A value as an argument or a variable has it; a variable holds no NUL byte."""
    if type(value) is bool:
        return str(value).lower()
    return str(value).replace("\0", "")


def toml(value: object) -> str:
    """A value in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
    return repr(value)


def file_text(sections: dict[str, dict[str, object]], entries: list[dict[str, object]]) -> str:
    """A whole file."""
    lines = []
    for section, keys in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {toml(value)}" for key, value in keys.items()]
    for entry in entries:
        lines.append("[[document]]")
        lines += [f"{toml(key)} = {toml(value)}" for key, value in entry.items()]
    return "\n".join(lines)
