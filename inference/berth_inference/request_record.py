"""What is known of the HTTP request under way: its id, and what becomes of it."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar
from dataclasses import dataclass

from berth_inference.errors import ErrorKind

REQUEST_ID = "x-request-id"
"""The header that names a request, in and out."""

# What a log line and a header can hold as it is; ids of tracing systems have up to 64 characters.
_ACCEPTABLE = re.compile(r"[\x20-\x7e]{1,128}")


@dataclass(slots=True)
class RequestRecord:
    """One HTTP request, filled in as it goes. Token counts cover every prompt and sequence of it.

    `first_token_seconds` counts from the moment at which the engine was asked.
    """

    id: str
    prompt_tokens: int = 0
    output_tokens: int = 0
    finish_reason: str | None = None
    first_token_seconds: float | None = None
    error: ErrorKind | None = None


current_record: ContextVar[RequestRecord | None] = ContextVar("current_record", default=None)
"""The request that the running task answers; None outside of one."""


def request_id(given: str | None) -> str:
    """The client's own id where it is printable ASCII of 1 to 128 characters, else a new one."""
    if given is not None and _ACCEPTABLE.fullmatch(given):
        return given
    return uuid.uuid4().hex


def note_error(kind: ErrorKind) -> None:
    """Remember why the request under way was refused or failed."""
    if (record := current_record.get()) is not None:
        record.error = kind
