"""The command line: which commands there are, and what every error looks like.

Commands live in txid_sync/commands, one file each, and are imported only when they are run: the
list of commands needs nothing but click.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

import click

from txid_sync import __version__
from txid_sync.commands import DEBUG
from txid_sync.errors import ExitCode, TxidSyncError

COMMANDS: Mapping[str, str] = {
    "init": "Install the change logs and track the tables of the configuration.",
    "check": "Check all that a run needs, one line per point.",
    "run": "Sync until stopped, or once.",
    "status": "Show how far each document is.",
    "prune": "Delete rows of the change logs that no pipeline wants any more.",
    "verify": "Compare rows with documents while both change, and mend what differs.",
    "explain": "Tell all about one key on both sides, and what comes next.",
    "resync": "Write documents again from the first row on.",
    "uninstall": "Remove everything that init has installed, and the progress.",
    "config": "Look at the configuration.",
}


class Program(click.Group):
    """Loads a command when it is asked for, and turns errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names of all commands, in the order of their use."""
        return list(COMMANDS)

    def get_command(
        self, ctx: click.Context, cmd_name: str  # noqa: ARG002
    ) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"txid_sync.commands.{cmd_name}").command
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter  # noqa: ARG002
    ) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error ends the process with its exit code."""
        return guarded(ctx, super().invoke)


class Script(click.Command):
    """A program of a single command, with the same kind of errors."""

    def invoke(self, ctx: click.Context) -> object:
        """Run it; an error ends the process with its exit code."""
        return guarded(ctx, super().invoke)


def guarded(ctx: click.Context, invoke: Callable[[click.Context], object]) -> object:
    """Call `invoke`; whatever it raises becomes one line on stderr and an exit code."""
    try:
        return invoke(ctx)
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise  # click tells these itself
    except KeyboardInterrupt:
        ctx.exit(ExitCode.SECOND_INTERRUPT)
    except Exception as error:  # noqa: BLE001  the last place where an error can be told
        ctx.exit(_tell(error, debug=bool(ctx.meta.get(DEBUG))))


def _tell(error: Exception, debug: bool) -> ExitCode:
    ui = import_module("txid_sync.ui")
    if debug:
        ui.console.print_exception()
    if isinstance(error, TxidSyncError):
        ui.error(error.message, error.hint)
        return error.exit_code
    ui.error(
        f"unexpected {type(error).__name__}: {error}",
        "" if debug else "this is a bug; run the command again with --debug for the traceback",
    )
    return ExitCode.BUG


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="txid-sync")
def cli() -> None:
    """Keep Elasticsearch in step with PostgreSQL, without a replication slot.

    Results go to stdout, messages to stderr.  Exit codes: docs/exit-codes.md.
    """


def main() -> None:
    """The console script."""
    sys.exit(cli.main(prog_name="txid-sync"))
