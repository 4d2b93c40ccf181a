"""How the log looks: lines for people, or JSON for machines, with the same fields."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from berth_inference.request_record import current_record

# What needs no quotes in `name=value`; anything else could be taken for further fields or lines.
_PLAIN = re.compile(r"[\w.:/{}+-]+", re.ASCII)


def configure_logs(form: str) -> None:
    """Send every logger's lines to standard error, as `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class TextFormatter(logging.Formatter):
    """Time, level, logger and message as ever, then the fields as `name=value`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without what follows it of an exception."""
        return " ".join([super().formatMessage(record), *(f"{n}={_shown(v)}" for n, v in _fields(record))])


class JsonFormatter(logging.Formatter):
    """One object a line; `time` is UTC in ISO 8601."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        content |= _fields(record)
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content, default=str)


def _fields(record: logging.LogRecord) -> list[tuple[str, Any]]:
    """A record's own fields; of any other that is written while a request is answered, the request's id."""
    fields: dict[str, Any] | None = getattr(record, "fields", None)
    if fields is not None:
        return [(name, value) for name, value in fields.items() if value is not None]
    request = current_record.get()
    return [("request_id", request.id)] if request is not None else []


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
