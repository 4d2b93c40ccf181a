"""Reads generations for HTTP answers, and gives them up when the client has."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from fastapi import Request

from berth_inference.engine import Event, EventStream, Finished, FinishReason, SequenceFinished, TokenEvent
from berth_inference.engine.events import TopLogprobs

_T = TypeVar("_T")


@dataclass(slots=True)
class GeneratedSequence:
    """One sequence, whole."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top_logprobs: list[TopLogprobs] = field(default_factory=list)
    reason: FinishReason = FinishReason.CANCELLED


class Gathering:
    """The sequences of one stream, from its events."""

    def __init__(self) -> None:
        self._sequences: defaultdict[int, GeneratedSequence] = defaultdict(GeneratedSequence)

    def add(self, event: Event) -> None:
        """Take the next event in."""
        match event:
            case TokenEvent():
                sequence = self._sequences[event.sequence]
                sequence.token_ids += event.token_ids
                if event.logprobs:
                    sequence.logprobs += event.logprobs
                if event.top_logprobs:
                    sequence.top_logprobs += event.top_logprobs
            case SequenceFinished():
                self._sequences[event.sequence].reason = event.reason
            case Finished():
                pass

    @property
    def sequences(self) -> list[GeneratedSequence]:
        """All sequences, in order of their index."""
        return [self._sequences[index] for index in sorted(self._sequences)]


class ClientGone(Exception):
    """The client closed its connection before the answer was there."""


async def collect(streams: Sequence[EventStream], request: Request) -> list[list[GeneratedSequence]]:
    """All sequences of each stream. Raises `BerthError`, or `ClientGone` after cancelling the streams."""
    try:
        return await _unless_gone(asyncio.gather(*map(_read, streams)), request)
    finally:
        # Also when this task is itself cancelled, as uvicorn does past the grace period.
        for stream in streams:
            stream.cancel()


async def events(streams: Sequence[EventStream]) -> AsyncGenerator[tuple[int, Event]]:
    """The events of all streams as they come, each with its stream's index. Cancels the streams when closed."""
    waiting: dict[asyncio.Future[Event], tuple[int, AsyncIterator[Event]]] = {}
    try:
        if len(streams) == 1:  # the usual case, without a task for every token
            async for event in streams[0]:
                yield 0, event
            return
        for index, iterator in enumerate(map(aiter, streams)):
            waiting[asyncio.ensure_future(anext(iterator))] = (index, iterator)
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for next_event in done:
                index, iterator = waiting.pop(next_event)
                try:
                    event = next_event.result()
                except StopAsyncIteration:
                    continue
                waiting[asyncio.ensure_future(anext(iterator))] = (index, iterator)
                yield index, event
    finally:
        for next_event in waiting:
            next_event.cancel()
        for stream in streams:
            stream.cancel()


async def begun(chunks: AsyncGenerator[bytes], request: Request) -> AsyncIterator[bytes]:
    """The chunks of a streamed answer, once there is a first one.

    What fails before it has its own status then, instead of an answer that has begun with 200. Raises
    `BerthError`, or `ClientGone` after closing the chunks.
    """
    try:
        first = await _unless_gone(anext(chunks), request)
    except BaseException:
        await chunks.aclose()
        raise
    return _with_first(first, chunks)


async def _with_first(first: bytes, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    try:
        yield first
        async for chunk in chunks:
            yield chunk
    finally:
        await chunks.aclose()


async def _unless_gone(answer: Awaitable[_T], request: Request) -> _T:
    reading = asyncio.ensure_future(answer)
    watching = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((reading, watching), return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            raise ClientGone
        return reading.result()
    finally:
        for task in (reading, watching):
            task.cancel()
        await asyncio.gather(reading, watching, return_exceptions=True)


async def _read(stream: EventStream) -> list[GeneratedSequence]:
    gathering = Gathering()
    async for event in stream:
        gathering.add(event)
    return gathering.sequences


async def _disconnected(request: Request) -> None:
    # The body has been read, so the only message that can still come is the end of the connection.
    while (await request.receive())["type"] != "http.disconnect":
        pass
