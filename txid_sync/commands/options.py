"""Options that every command has, and what they give it: logging and the configuration."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import click

from txid_sync import logs
from txid_sync.commands import DEBUG
from txid_sync.config import DEFAULT_FILE, read
from txid_sync.errors import UsageError
from txid_sync.settings import Config

option = functools.partial(click.option, show_envvar=True)

_COMMON = (
    option(
        "-c", "--config", "path", envvar="TXID_SYNC_CONFIG", metavar="FILE",
        help=f"Configuration.  [default: {DEFAULT_FILE} here, if there is one]",
    ),
    option(
        "-s", "--set", "flags", envvar="TXID_SYNC_SET", multiple=True, metavar="SECTION.KEY=VALUE",
        help="Change one setting, above environment and file; may be repeated.",
    ),
    option(
        "--log-format", envvar="TXID_SYNC_LOG_FORMAT", type=click.Choice(logs.FORMATS),
        default="text", show_default=True, help="How messages look on stderr.",
    ),
    option(
        "--debug", envvar="TXID_SYNC_DEBUG", is_flag=True,
        help="Print more messages, and the traceback of errors.",
    ),
)  # fmt: skip


def configured(function: Callable[..., None]) -> Callable[..., None]:
    """A command that gets the `config` and has the common options."""

    @functools.wraps(function)
    @click.pass_context
    def wrapper(
        context: click.Context,
        /,
        path: str | None,
        flags: tuple[str, ...],
        log_format: str,
        debug: bool,
        **values: object,
    ) -> None:
        context.meta[DEBUG] = debug
        logs.set_up(log_format, debug)
        function(config=read(path, os.environ, flags), **values)

    for decorate in reversed(_COMMON):
        wrapper = decorate(wrapper)
    return wrapper


def require_documents(config: Config) -> None:
    """Raise UsageError if there is nothing to sync."""
    if not config.documents:
        raise UsageError(
            "the configuration has no [[document]]",
            f"write one into {DEFAULT_FILE} or name another file with --config; "
            "docs/configuration.md has an example",
        )
