"""What a request is told when vLLM refuses it, fails, or is gone."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from berth_inference.errors import BerthError, ErrorKind, invalid

_log = logging.getLogger(__name__)

# Of a foreign text.
_QUOTED_CHARACTERS = 300

# Seconds after which a client may try again: what takes longest is vLLM's restart, and until it is over the front
# is not ready and gets no requests.
_RETRY_SECONDS = 5

_ABOUT_THE_REQUEST = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.NOT_IMPLEMENTED,
)


def refused(status: int, body: bytes | dict[str, Any], retry_after: str | None = None) -> BerthError:
    """The error for vLLM's answer with a status other than 200, or for an error within a stream."""
    words = _words(body)
    if status in _ABOUT_THE_REQUEST:
        return invalid(None, f"vLLM, which runs this model, refuses this request: {words}")
    seconds = int(retry_after) if retry_after and retry_after.isdecimal() else 1
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return BerthError(
            ErrorKind.OVERLOADED, "vLLM has too many requests already; try again later.", retry_after=seconds
        )
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return BerthError(
            ErrorKind.UNAVAILABLE, "vLLM takes no requests now; try again later.", retry_after=seconds
        )
    # What else it says is about itself or about how it is asked: nothing that the sender could put right.
    _log.error("vLLM answered %d: %s", status, words)
    return BerthError(ErrorKind.INTERNAL, "vLLM failed on this request; its log and the server's say why.")


def unreachable() -> BerthError:
    """There is no connection."""
    return BerthError(
        ErrorKind.UNAVAILABLE, "vLLM cannot be reached; try again later.", retry_after=_RETRY_SECONDS
    )


def cut_off() -> BerthError:
    """The answer ended before it was complete."""
    return BerthError(
        ErrorKind.UNAVAILABLE,
        "The connection to vLLM broke before the answer was complete; try again later.",
        retry_after=_RETRY_SECONDS,
    )


def _words(body: bytes | dict[str, Any]) -> str:
    """vLLM's words, in one line."""
    content: Any = body
    if isinstance(body, bytes):
        try:
            content = json.loads(body)
        except ValueError:
            content = body.decode(errors="replace")
    if isinstance(content, dict):
        error = content.get("error", content)
        content = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(content or "").split())[:_QUOTED_CHARACTERS] or "it does not say why"
