"""Generates the reference parts of the docs from the code: `python -m txid_sync.dev.reference`.

A test compares, so that the docs cannot fall behind.  A generated part of a page stands between
`<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click

from txid_sync.cli import cli
from txid_sync.errors import ExitCode, TxidSyncError
from txid_sync.settings import DOCUMENT_KEYS, SECTIONS, environment_name, settings_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
WIDTH = 100
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def updated(page: str) -> str:
    """A page with its generated parts made anew."""
    return _PART.sub(lambda part: f"{part[1]}{PARTS[part[2]]()}{part[3]}", page)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups before their members."""
    context = click.Context(cli, info_name="txid-sync", **cli.context_settings)
    yield "txid-sync", cli
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        yield f"txid-sync {name}", command
        if isinstance(command, click.Group):
            for member, inner in command.commands.items():
                yield f"txid-sync {name} {member}", inner


def help_texts() -> str:
    """The help of every command."""
    parts = []
    for name, command in commands():
        context = click.Context(
            command, info_name=name, terminal_width=WIDTH, **cli.context_settings
        )
        parts.append(f"## {name}\n\n```\n{command.get_help(context)}\n```\n")
    return "\n" + "\n".join(parts)


def setting_tables() -> str:
    """A table of every section."""
    parts = []
    for section, kind in SECTIONS.items():
        meaning = (kind.__doc__ or "").partition(": ")[2].rstrip(".")
        rows = [f"\n### [{section}]: {meaning}\n", "| key | default | meaning |", "|---|---|---|"]
        for setting in settings_of(section):
            rules = setting.metadata
            range_ = f" ({rules['least']} to {rules['most']})" if "least" in rules else ""
            choices = f": {', '.join(rules['choices'])}" if "choices" in rules else ""
            default = json.dumps(setting.default) if setting.default != "" else ""
            text = f"{rules['meaning']}{choices}{range_}"
            rows.append(f"| `{setting.name}` | {default and f'`{default}`'} | {text} |")
        parts.append("\n".join(rows) + "\n")
    return "".join(parts)


def document_table() -> str:
    """The keys of a [[document]]."""
    rows = [f"| `{key}` | {meaning} |" for key, meaning in DOCUMENT_KEYS.items()]
    return "\n".join(["| key | meaning |", "|---|---|", *rows]) + "\n"


def variables() -> str:
    """One line on the environment twins, with the first as an example."""
    example = environment_name("source", "dsn")
    return f"Each has an environment twin, `{example}` for `dsn` of `[source]` and so on.\n"


def exit_codes() -> str:
    """The table of exit codes, with the errors that have each."""
    rows = ["| code | name | errors |", "|---|---|---|"]
    errors = sorted(_all_errors(TxidSyncError), key=lambda error: error.__name__)
    for code in ExitCode:
        names = [f"`{e.__name__}`" for e in errors if e.exit_code is code]
        rows.append(f"| {code.value} | `{code.name}` | {', '.join(names)} |")
    return "\n".join(rows) + "\n"


def _all_errors(base: type[TxidSyncError]) -> Iterator[type[TxidSyncError]]:
    for error in base.__subclasses__():
        if not error.__subclasses__():
            yield error
        yield from _all_errors(error)


PARTS = {
    "commands": help_texts,
    "settings": setting_tables,
    "documents": document_table,
    "variables": variables,
    "exit_codes": exit_codes,
}
PAGES = ("cli.md", "configuration.md", "exit-codes.md")


def main() -> None:
    """Write the pages."""
    for name in PAGES:
        page = DOCS / name
        page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
