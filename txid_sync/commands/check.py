"""`txid-sync check`: all that a run needs, one line per point."""

from __future__ import annotations

import click

from txid_sync import ui
from txid_sync.check import Point, exit_code
from txid_sync.check_sink import sink_points
from txid_sync.check_source import source_points
from txid_sync.commands.options import configured, option, require_documents
from txid_sync.settings import Config


@click.command("check")
@option("--json", "as_json", envvar="TXID_SYNC_JSON", is_flag=True, help="Print JSON.")
@configured
def command(config: Config, as_json: bool) -> None:
    """Check all that a run needs, one line per point: OK, WARNING or FAILED, and what mends it.

    Ends with exit code 1 if a point failed, 3 if the source and 4 if the sink does not answer.
    """
    require_documents(config)
    points: list[Point] = []
    for group in (source_points(config.source.dsn, config.documents), sink_points(config)):
        for point in group:
            points.append(point)
            if not as_json:
                ui.data(point.line)
    if as_json:
        ui.data_json([point.as_json() for point in points])
    click.get_current_context().exit(exit_code(points))
