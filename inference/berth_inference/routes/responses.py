"""Parts of answers that several routes share."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from berth_inference.errors import MEANINGS, ErrorKind
from berth_inference.schemas.errors import ErrorAnswer, OpenAIErrorAnswer

EVENT_STREAM = "text/event-stream"

Responses = dict[int | str, dict[str, Any]]


def _refusals(form: type[BaseModel]) -> Responses:
    kinds = {
        400: ErrorKind.INVALID,
        401: ErrorKind.UNAUTHORIZED,
        404: ErrorKind.NOT_FOUND,
        413: ErrorKind.TOO_LARGE,
        429: ErrorKind.OVERLOADED,
        503: ErrorKind.UNAVAILABLE,
        504: ErrorKind.DEADLINE,
    }
    return {status: {"description": MEANINGS[kind], "model": form} for status, kind in kinds.items()}


REFUSALS = _refusals(ErrorAnswer)
"""For the OpenAPI page, of routes with their own form of errors."""

OPENAI_REFUSALS = _refusals(OpenAIErrorAnswer)
"""For the OpenAPI page, of OpenAI's routes."""


def only(refusals: Responses, *statuses: int) -> Responses:
    """Those of the refusals, for routes that know no others."""
    return {status: refusals[status] for status in statuses}


def streamed(media_type: str) -> Responses:
    """For the OpenAPI page: an answer that comes in another media type with `stream`."""
    return {200: {"content": {media_type: {}}}}


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
