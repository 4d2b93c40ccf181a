"""Lets requests in one after another, so that a crowd that comes at once does not delay health checks.

Reading and checking a request takes the event loop milliseconds. Of two hundred that arrive together,
all would begin in the same turn of the loop, and a probe that comes next would wait for all of them.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

# Answered in microseconds, and by their callers expected at once.
_PROBES = frozenset({"/health", "/healthz", "/livez"})


class Turnstile:
    """ASGI middleware. A request other than a probe begins in a turn of the event loop of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for a turn; first come, first served."""
        if scope["type"] == "http" and scope["path"] not in _PROBES:
            async with self._turn:
                await asyncio.sleep(0)  # whatever else is ready goes first
        await self._app(scope, receive, send)
