"""Refuses bodies over a size, before and while they are read.

The framework has such a limit too; it answers in plain text, which clients that read JSON from every
refusal cannot use.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from berth_inference.errors import BerthError, ErrorKind
from berth_inference.http_errors import render


class BodyLimit:
    """ASGI middleware. `limit` is in bytes."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 at once to a length announced too large, and to one that turns out so."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        # The server has checked the header's form; more digits than this are too many bytes anyway.
        if len(announced) > 18 or (announced.isdecimal() and int(announced) > self._limit):
            await render(self._error(), scope["path"])(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > self._limit:
                    # The type that the framework passes on while it reads a body; others become a 400.
                    raise HTTPException(413, self._error().reason)
            return message

        await self._app(scope, counted, send)

    def _error(self) -> BerthError:
        return BerthError(
            ErrorKind.TOO_LARGE, f"The request body is larger than {self._limit} bytes; send less."
        )
