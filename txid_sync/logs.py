"""Log messages on stderr: one line each, as text or as JSON."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from txid_sync import ui

FORMATS = ("text", "json")
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: time, level, logger, message, and its `extra` fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        value = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        value |= {name: v for name, v in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            value["traceback"] = self.formatException(record.exc_info)
        return json.dumps(value, default=str, ensure_ascii=False)


class _Worker(logging.Filter):
    """Says in every record which worker it is from."""

    def __init__(self, worker: str) -> None:
        super().__init__()
        self._worker = worker

    def filter(self, record: logging.LogRecord) -> bool:
        """Let it pass, with the worker's name."""
        record.worker = self._worker
        return True


class _Handler(logging.Handler):
    """Writes through the console, so that a live line stays at the bottom."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        try:
            ui.message(self.format(record))
        except Exception:  # noqa: BLE001  a log line that fails must not stop the pipeline
            self.handleError(record)


def name_worker(worker: str) -> None:
    """From now on say with every message which of several workers speaks."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_Worker(worker))
        if not isinstance(handler.formatter, JsonFormatter):
            handler.setFormatter(_text("worker %(worker)s: "))


def _text(prefix: str = "") -> logging.Formatter:
    return logging.Formatter(
        f"%(asctime)s %(levelname)s {prefix}%(message)s", "%Y-%m-%d %H:%M:%S"
    )


def set_up(form: str, debug: bool = False) -> None:
    """Send the package's messages to stderr as `form` ("text" or "json"); replaces an earlier call.

    Other libraries are heard from WARNING on (the sink's client: ERROR), in debug from INFO on.
    """
    handler = _Handler()
    handler.setFormatter(JsonFormatter() if form == "json" else _text())
    logging.basicConfig(
        level=logging.INFO if debug else logging.WARNING, handlers=[handler], force=True
    )
    if not debug:  # its warnings repeat what our own errors say
        for name in ("elastic_transport", "urllib3"):
            logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("txid_sync").setLevel(logging.DEBUG if debug else logging.INFO)
