"""Asks a server over HTTP and notes when each token came."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import aiohttp

from benchmarks.inference.model import VOCABULARY
from benchmarks.inference.servers import Kind
from benchmarks.inference.workloads import Ask, Workload

# Seconds that the other requests of a workload run before the timed ones begin.
_HEAD_START = 1.0


@dataclass(slots=True)
class Answer:
    """One request: when it was sent, when its tokens came, when it ended; on one clock, in seconds."""

    ask: Ask
    sent: float = 0.0
    tokens: list[float] = field(default_factory=list)
    ended: float | None = None

    @property
    def first_token(self) -> float | None:
        """Seconds to the first token."""
        return self.tokens[0] - self.sent if self.tokens else None

    @property
    def gaps(self) -> list[float]:
        """Seconds between each two tokens."""
        return [after - before for before, after in pairwise(self.tokens)]


@dataclass(slots=True)
class Timing:
    """What a workload came to. `whole` is False where it was cut at its limit of time."""

    answers: list[Answer]
    seconds: float
    whole: bool


class WrongAnswer(Exception):
    """A server has answered something else than was asked for."""


async def run(url: str, kind: Kind, workload: Workload, limit: float, *, seed: int = 0) -> Timing:
    """One workload on one server, for `limit` seconds at most. The same `seed` gives the same prompts."""
    source = random.Random(f"{workload.name} {seed}")
    answers = [Answer(ask) for ask in workload.asks]
    others = [Answer(ask) for ask in workload.others]
    # A connection for each request, and no server may close one that is about to be used again.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=None)
    began = time.perf_counter()
    whole = True
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as session:
        try:
            async with asyncio.timeout(limit):
                if others:
                    answers = await _beside(session, kind, answers, others, source)
                else:
                    await _together(session, kind, answers, workload.concurrent, source)
        except TimeoutError:
            whole = False
    return Timing(answers, time.perf_counter() - began, whole)


async def _together(
    session: aiohttp.ClientSession,
    kind: Kind,
    answers: Sequence[Answer],
    open_at_once: int,
    source: random.Random,
) -> None:
    places = asyncio.Semaphore(open_at_once)

    async def one(answer: Answer) -> None:
        await asyncio.sleep(answer.ask.after)
        async with places:
            await _ask(session, kind, answer, source)

    async with asyncio.TaskGroup() as group:
        for answer in answers:
            group.create_task(one(answer))


async def _beside(
    session: aiohttp.ClientSession,
    kind: Kind,
    answers: Sequence[Answer],
    others: Sequence[Answer],
    source: random.Random,
) -> list[Answer]:
    """Those of the answers that came while all the others ran. Waits for the others to end."""
    done = []
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(_ask(session, kind, other, source)) for other in others]
        await asyncio.sleep(_HEAD_START)
        for answer in answers:
            await _ask(session, kind, answer, source)
            if any(task.done() for task in running):
                break
            done.append(answer)
    return done


async def _ask(session: aiohttp.ClientSession, kind: Kind, answer: Answer, source: random.Random) -> None:
    prompt = [source.randrange(1, VOCABULARY) for _ in range(answer.ask.prompt)]
    answer.sent = time.perf_counter()
    async with session.post(kind.path, json=kind.body(prompt, answer.ask)) as response:
        if response.status != 200:
            raise WrongAnswer(f"{kind.name} answered {response.status}: {(await response.text())[:300]}")
        made = await _stream(response, answer) if kind.streams else await _whole(response, answer)
    answer.ended = time.perf_counter()
    if made != answer.ask.new:
        raise WrongAnswer(f"{kind.name} made {made} tokens instead of {answer.ask.new}")


async def _stream(response: aiohttp.ClientResponse, answer: Answer) -> int:
    made = 0
    async for line in response.content:
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            raise WrongAnswer(f"a stream ended with {chunk['error']}")
        if chunk.get("usage"):
            made = chunk["usage"]["completion_tokens"]
        if chunk["choices"] and chunk["choices"][0]["text"]:
            answer.tokens.append(time.perf_counter())
    return made


async def _whole(response: aiohttp.ClientResponse, answer: Answer) -> int:
    told = await response.json()
    if answer.ask.new == 1:
        answer.tokens.append(time.perf_counter())
    return int(told["usage"]["completion_tokens"]) if "usage" in told else len(str(told["Result"]).split())
