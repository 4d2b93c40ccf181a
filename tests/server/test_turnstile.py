"""A crowd of requests comes in one by one, and probes pass it."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from berth_inference.turnstile import Turnstile


async def _receive() -> Message:
    raise AssertionError("nothing is read here")


async def _send(_: Message) -> None:
    raise AssertionError("nothing is sent here")


@pytest.mark.parametrize("path", ["/health", "/healthz", "/livez"])
async def test_a_probe_that_comes_after_a_crowd_is_answered_before_it(path: str) -> None:
    begun: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(scope["path"])

    turnstile = Turnstile(app)
    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(turnstile({"type": "http", "path": f"/{number}"}, _receive, _send))
        await asyncio.sleep(0)  # the crowd is there
        group.create_task(turnstile({"type": "http", "path": path}, _receive, _send))
    assert begun.index(path) < 5
    assert [other for other in begun if other != path] == [f"/{number}" for number in range(50)]


async def test_one_that_leaves_while_it_waits_holds_nobody_up() -> None:
    begun: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(scope["path"])

    turnstile = Turnstile(app)
    tasks = [
        asyncio.create_task(turnstile({"type": "http", "path": path}, _receive, _send))
        for path in ("/a", "/b", "/c")
    ]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert begun == ["/c"]
