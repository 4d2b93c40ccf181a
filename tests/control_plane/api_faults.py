"""What can go wrong with one request of the API server, done to it by the proxy."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from control_plane.api_calls import Call, call_of

HANG_SECONDS = 3600.0
"""For ever: the client leaves."""

REORDER_SECONDS = 0.2
"""How long an event is held back for the next one to overtake it."""


@dataclass(frozen=True)
class Fault:
    """One way to fail. `effect` says that the API server does what was asked before that."""

    name: str
    end: Literal["cut", "half", "hang", "answer", "stream"] = "answer"
    status: int = 200
    effect: bool = False
    body: str | None = None
    retry_after: str = ""
    then: Callable[[], object] | None = None
    """Done once the API server has done what was asked."""

    def __str__(self) -> str:
        return self.name


def _refusal(status: int, reason: str, **more: str) -> Fault:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": "in a test",
        "reason": reason,
        "code": status,
    }
    return Fault(f"{status} {reason}", status=status, body=json.dumps(body), **more)  # type: ignore[arg-type]


FAULTS = (
    Fault("connection reset before the effect", "cut"),
    Fault("connection reset after the effect", "cut", effect=True),
    Fault("connection reset amid the answer", "half", effect=True),
    Fault("timeout before the effect", "hang"),
    Fault("timeout after the effect", "hang", effect=True),
    _refusal(400, "BadRequest"),
    _refusal(401, "Unauthorized"),
    _refusal(403, "Forbidden"),
    _refusal(404, "NotFound"),
    _refusal(409, "Conflict"),
    _refusal(410, "Expired"),
    _refusal(422, "Invalid"),
    _refusal(429, "TooManyRequests", retry_after="1"),
    _refusal(500, "InternalError"),
    Fault("503 from a load balancer", status=503, body="<html>no backend</html>"),
    _refusal(504, "Timeout"),
    Fault("200 with a page of HTML", body="<html>please log in</html>"),
    Fault("200 with JSON that is no object", body="null"),
    Fault("200 with an object without a kind", body="{}", effect=True),
)
"""Of any call, also of one that begins a watch."""

STREAM_FAULTS = (
    Fault("watch ends at once", "stream"),
    Fault("watch says nothing", "stream"),
    Fault("watch is told 410", "stream"),
    Fault("watch is told 500", "stream"),
    Fault("watch is told what is no JSON", "stream"),
    Fault("watch is cut amid an event", "stream"),
    Fault("watch tells everything twice", "stream"),
    Fault("watch tells things in another order", "stream"),
)
"""Of watches only, once they have begun."""


def times(call: Call, fault: Fault) -> int:
    """How often a fault must come for the operator to see it: aiohttp asks a second time by itself when a connection
    breaks that it reads by."""
    return 2 if fault.end == "cut" and call.verb in ("get", "list") else 1


FAULTY_CALL = "faulty call"
"""The property of a test by which the end of a run counts the calls that failed and the ways in which they did."""

Choice = Callable[[Call, web.Request, str], Fault | None]
"""Chooses the fault of a request, by its call and its body."""


class Faults:
    """Decides what happens to each request, and counts what was done. What no call is known for is in `unknown`."""

    def __init__(self, choose: Choice) -> None:
        self.injected: Counter[tuple[Call, str]] = Counter()
        self.made: Counter[Call] = Counter()
        self.unknown: list[str] = []
        self._choose = choose

    async def about(self, request: web.Request) -> Fault | None:
        try:
            call = call_of(request.method, request.path, request.query, request.headers)
        except LookupError as error:
            self.unknown.append(str(error))
            return None
        self.made[call] += 1
        fault = self._choose(call, request, (await request.read()).decode())
        if fault is not None:
            self.injected[call, fault.name] += 1
        return fault


async def enact(
    fault: Fault, request: web.Request, forward: Callable[[], Awaitable[web.Response]]
) -> web.StreamResponse:
    """Answer a request with a fault."""
    real = await forward() if fault.effect else None
    if fault.then is not None:
        fault.then()
    match fault.end:
        case "hang":
            await asyncio.sleep(HANG_SECONDS)
        case "half" if real is not None and isinstance(real.body, bytes):
            answer = web.StreamResponse(status=real.status, headers={"Content-Type": "application/json"})
            answer.content_length = len(real.body)
            await answer.prepare(request)
            await answer.write(real.body[: len(real.body) // 2])
        case "answer":
            headers = {"Content-Type": "application/json"}
            if fault.retry_after:
                headers["Retry-After"] = fault.retry_after
            return web.Response(status=fault.status, text=fault.body, headers=headers)
    return hang_up(request)


async def bent(fault: Fault, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines of a watch with a fault; ConnectionAbortedError where the connection is to be cut."""
    match fault.name:
        case "watch ends at once":
            return
        case "watch says nothing":
            await asyncio.sleep(HANG_SECONDS)
        case "watch is told 410" | "watch is told 500":
            code = int(fault.name.rpartition(" ")[2])
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
            yield json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
        case "watch is told what is no JSON":
            yield b"<html>please log in</html>\n"
        case "watch is cut amid an event":
            async for line in lines:
                yield line[: len(line) // 2]
                raise ConnectionAbortedError
        case "watch tells everything twice":
            async for line in lines:
                yield line
                yield line
        case "watch tells things in another order":
            async for line in _swapped(lines):
                yield line


async def _swapped(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Each line is overtaken by the one after it, if that comes soon."""
    coming = asyncio.ensure_future(anext(lines, b""))
    try:
        while held := await coming:
            coming = asyncio.ensure_future(anext(lines, b""))
            done, _ = await asyncio.wait([coming], timeout=REORDER_SECONDS)
            if done and (overtaking := coming.result()):
                coming = asyncio.ensure_future(anext(lines, b""))
                yield overtaking
            yield held
    finally:
        coming.cancel()


def hang_up(request: web.Request) -> web.Response:
    """Break the connection of a request."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)
