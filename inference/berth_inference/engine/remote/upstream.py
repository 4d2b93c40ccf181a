"""The HTTP that is spoken with vLLM."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx2

from berth_inference.engine.remote.failures import cut_off, refused, unreachable
from berth_inference.errors import BerthError

# Between containers of one pod a connection is made at once or not at all.
_CONNECT_SECONDS = 5.0

# vLLM answers /health from its engine's state, without a forward pass.
_HEALTH_SECONDS = 5.0

_LAST_EVENT = "[DONE]"


class Upstream:
    """One vLLM server, asked on one event loop. The answers' length is bounded by whoever reads them."""

    def __init__(self, address: str) -> None:
        self._http = httpx2.AsyncClient(
            base_url=address,
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            # None is used twice: vLLM closes those that are idle, perhaps while a request is on its way.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,  # a proxy of the environment has no business within a pod
        )

    async def completion(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """The parts of the answer to POST /v1/completions, as they come. Raises `BerthError`."""
        try:
            async with self._http.stream("POST", "/v1/completions", json=body) as response:
                if response.status_code != httpx2.codes.OK:
                    raise refused(
                        response.status_code, await response.aread(), response.headers.get("retry-after")
                    )
                if not body.get("stream"):
                    yield json.loads(await response.aread())
                    return
                async for part in _parts(response):
                    yield part
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise unreachable() from None
        except httpx2.TransportError:
            raise cut_off() from None

    async def unhealthy(self) -> str | None:
        """What is wrong with vLLM, in words; None if it is healthy."""
        try:
            response = await self._http.get("/health", timeout=_HEALTH_SECONDS)
        except httpx2.RequestError as error:
            return f"vLLM does not answer ({type(error).__name__})"
        if response.status_code != httpx2.codes.OK:
            return f"vLLM is not healthy ({response.status_code})"
        return None

    async def metrics(self) -> str:
        """The page of GET /metrics; empty if it cannot be had."""
        try:
            response = await self._http.get("/metrics", timeout=_HEALTH_SECONDS)
        except httpx2.RequestError:
            return ""
        return response.text if response.status_code == httpx2.codes.OK else ""

    async def models(self) -> list[dict[str, Any]]:
        """The cards of GET /v1/models. Raises `BerthError`."""
        try:
            response = await self._http.get("/v1/models", timeout=_HEALTH_SECONDS)
        except httpx2.RequestError:
            raise unreachable() from None
        if response.status_code != httpx2.codes.OK:
            raise refused(response.status_code, response.content)
        cards: list[dict[str, Any]] = response.json()["data"]
        return cards

    async def close(self) -> None:
        """End all connections."""
        await self._http.aclose()


async def _parts(response: httpx2.Response) -> AsyncGenerator[dict[str, Any]]:
    # The first part repeats the prompt, which may be long.
    async for event in httpx2.EventSource(response, max_event_size=None):
        if event.data == _LAST_EVENT:
            return
        part = json.loads(event.data)
        if "error" in part:
            raise _within(part)
        yield part
    raise cut_off()


def _within(part: dict[str, Any]) -> BerthError:
    """The error that takes the place of further parts: its status was 200 by then."""
    error = part["error"]
    code = error.get("code") if isinstance(error, dict) else None
    return refused(code if isinstance(code, int) else 500, part)
