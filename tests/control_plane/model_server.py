"""A model that answers, for commands that ask one, and a Workspace that is said to serve it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from berth_operator.cluster_cache import WORKSPACES
from berth_operator.kube import Object
from control_plane.cluster import Cluster


async def report(cluster: Cluster, name: str, ready: bool, message: str, endpoint: str = "") -> Object:
    """Say of a Workspace what its operator would."""
    await cluster.create_workspace(name)
    condition = {
        "type": "Ready",
        "status": str(ready),
        "reason": "Serving" if ready else "UnknownPreset",
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {"conditions": [condition], "endpoint": endpoint, "observedGeneration": 1}
    return await cluster.edit(WORKSPACES, name, {"status": status}, "status")


@asynccontextmanager
async def server(*, openai: bool, key: str | None = None) -> AsyncIterator[tuple[str, list[Object]]]:
    """A model that answers, in the manner of `openai` or with /chat alone, and what it was asked."""
    asked: list[Object] = []

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "Healthy"})

    async def chat(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.json_response({"Result": " Hello there. "})

    async def completions(request: web.Request) -> web.StreamResponse:
        asked.append(await request.json())
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in ("Hel", "lo", " there."):
            await response.write(
                f"data: {json.dumps({'choices': [{'delta': {'content': piece}}]})}\n\n".encode()
            )
        await response.write(b"data: [DONE]\n\n")
        return response

    @web.middleware
    async def locked(request: web.Request, handler: Any) -> Any:
        if key and request.path != "/health" and request.headers.get("Authorization") != f"Bearer {key}":
            return web.json_response({"code": "unauthorized"}, status=401)
        return await handler(request)

    app = web.Application(middlewares=[locked])
    app.router.add_get("/health", health)
    app.router.add_post("/chat", chat)
    if openai:
        app.router.add_post("/v1/chat/completions", completions)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()
