"""Parts of answers that several routes share."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import StreamingResponse

EVENT_STREAM = "text/event-stream"

REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "An argument that cannot be served, by name, and what to do"},
    404: {"description": "A model that is not served"},
    413: {"description": "A body that is too large"},
    429: {"description": "Too many requests are waiting; Retry-After says when to try again"},
    503: {"description": "Loading, draining or out of memory; Retry-After says when to try again"},
    504: {"description": "The answer took longer than the server allows"},
}
"""For the OpenAPI page."""


def only(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Those of the refusals, for routes that know no others."""
    return {status: REFUSALS[status] for status in statuses}


LAST_EVENT = b"data: [DONE]\n\n"
"""How OpenAI's streams end, and what its clients wait for."""

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Proxies that hold a stream back until it is complete would undo it; nginx reads the second."""


# json.dumps would make one for each token.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def server_event(content: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + as_json(content) + b"\n\n"


def as_json(content: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return _ENCODER.encode(content).encode()


def event_stream(chunks: Any) -> StreamingResponse:
    """A stream of server-sent events."""
    return StreamingResponse(chunks, media_type=EVENT_STREAM, headers=_HEADERS)
