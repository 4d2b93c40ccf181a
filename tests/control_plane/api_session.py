"""A plain HTTP client of an API server, for tests that look at its answers."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from berth_local.apiserver import ApiServer

WAIT_SECONDS = 20.0


class Api:
    """Requests to one server; bodies and answers are plain data."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url, self.session = url, session

    async def ask(
        self, method: str, path: str, body: Any = None, type: str = "application/json", **query: str
    ) -> tuple[int, Any]:
        """Return status and body; `body` may be bytes, sent as they are."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": type} if data is not None else {}
        async with self.session.request(
            method,
            self.url + path,
            params=query,
            data=None if data is None else io.BytesIO(data),
            headers=headers,
        ) as response:
            text = await response.text()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    async def create(self, path: str, body: Any) -> Any:
        status, answer = await self.ask("POST", path, body)
        assert status == 201, answer
        return answer

    async def gone(self, path: str) -> None:
        """Wait until there is nothing at a path."""

        async def absent() -> bool:
            return (await self.ask("GET", path))[0] == 404

        await until(absent)

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[AsyncIterator[Any]]:
        """Yield the events of a watch as they come; they end when the server ends it."""
        async with self.session.get(self.url + path, params={"watch": "true", **query}) as response:
            yield self._events(response)

    @staticmethod
    async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Any]:
        rest = b""
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield json.loads(line)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what the server does in its own time."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await holds():  # noqa: ASYNC110 - nothing tells a client but asking
            await asyncio.sleep(0.005)


@asynccontextmanager
async def api_session(server: ApiServer) -> AsyncIterator[Api]:
    """Connect to a started server."""
    async with aiohttp.ClientSession() as session:
        yield Api(server.url, session)
