"""Sends one planned request and says what became of it. Nothing may be lost."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import aiohttp

from benchmarks.soak.plans import Plan

# Far beyond what any planned request can take: a request without an answer by then is hung.
_HUNG_SECONDS = 120.0

# Too many requests, draining, out of time: what a good request may be told.
_BUSY = (429, 503, 504)


class What(StrEnum):
    """What can become of a request. LOST and WRONG are never right."""

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "ended with an error"
    CANCELLED = "cancelled"
    LOST = "lost"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`detail` is the status of a refusal, and the reason of what is lost or wrong."""

    plan: Plan
    what: What
    detail: str = ""


async def send(session: aiohttp.ClientSession, plan: Plan) -> Outcome:
    """Ask, and judge the answer. Never raises for what the server does."""
    try:
        async with asyncio.timeout(plan.leaves or _HUNG_SECONDS):
            return await _judged(session, plan)
    except TimeoutError:
        if plan.leaves is not None:
            return Outcome(plan, What.CANCELLED)
        return Outcome(plan, What.LOST, f"no answer in {_HUNG_SECONDS:.0f} s")
    except aiohttp.ClientError as error:
        return Outcome(plan, What.LOST, f"{type(error).__name__}: {error}")


async def _judged(session: aiohttp.ClientSession, plan: Plan) -> Outcome:
    headers = {"Content-Type": "application/json"}
    async with session.post(plan.path, data=plan.content, headers=headers) as response:
        body = await response.read()
        if response.status == 200:
            if not plan.good:
                return Outcome(plan, What.WRONG, "a bad request was answered")
            return _answer(plan, body, response.content_type)
        told = _error(plan.path, _json(body))
        if told is None:
            return Outcome(plan, What.WRONG, f"{response.status} in another form: {body[:200]!r}")
        if response.status >= 500 and response.status not in _BUSY:
            return Outcome(plan, What.WRONG, f"{response.status}: {told}")
        if plan.good and response.status not in _BUSY:
            return Outcome(plan, What.WRONG, f"a good request was refused: {response.status}: {told}")
        return Outcome(plan, What.REFUSED, str(response.status))


def _answer(plan: Plan, body: bytes, content_type: str) -> Outcome:
    """Of an answer that has begun with 200: is it whole, or does it end with an error in its form?"""
    if content_type == "application/json":
        whole = isinstance(_json(body), dict)
        return Outcome(plan, What.ANSWERED if whole else What.LOST, "" if whole else "half an answer")
    if content_type == "text/event-stream":
        events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event]
        if not events or events.pop() != b"[DONE]":
            return Outcome(plan, What.LOST, f"a stream without its end: ...{body[-100:]!r}")
        last = _json(events[-1]) if events else None
    else:
        parts = body.split(b"\0")
        if parts.pop() or not parts:
            return Outcome(plan, What.LOST, f"a stream without its end: ...{body[-100:]!r}")
        last = _json(parts[-1])
    if not isinstance(last, dict):
        return Outcome(plan, What.WRONG, f"a stream that is no JSON: ...{body[-100:]!r}")
    if told := _error(plan.path, last):
        return Outcome(plan, What.FAILED, told)
    return Outcome(plan, What.ANSWERED)


def _error(path: str, body: Any) -> str | None:
    """The message of an error in its API's form; None for anything else."""
    if not isinstance(body, dict):
        return None
    if path in ("/chat", "/v1/generate"):
        return str(body["detail"]) if set(body) == {"detail", "code", "param"} else None
    error = body.get("error")
    if isinstance(error, dict) and set(error) == {"message", "type", "param", "code"}:
        return str(error["message"])
    return None


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def client(url: str) -> aiohttp.ClientSession:
    """A session that opens a connection for each request, as many at once as are wanted."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout(total=None))
