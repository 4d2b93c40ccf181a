"""Reads a generation to its end, or gives it up when the client has."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from fastapi import Request

from berth_inference.engine import EventStream, Finished, FinishReason, SequenceFinished, TokenEvent


@dataclass(slots=True)
class GeneratedSequence:
    """One sequence, whole."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    reason: FinishReason = FinishReason.CANCELLED


class ClientGone(Exception):
    """The client closed its connection before the answer was there."""


async def collect(stream: EventStream, request: Request) -> list[GeneratedSequence]:
    """All sequences of a stream. Raises `BerthError`, or `ClientGone` after cancelling the stream."""
    reading = asyncio.create_task(_read(stream))
    watching = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((reading, watching), return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            raise ClientGone
        return reading.result()
    finally:
        # Also when this task is itself cancelled, as uvicorn does past the grace period.
        if not reading.done():
            stream.cancel()
        for task in (reading, watching):
            task.cancel()


async def _read(stream: EventStream) -> list[GeneratedSequence]:
    sequences: dict[int, GeneratedSequence] = {}
    async for event in stream:
        match event:
            case TokenEvent():
                sequence = sequences.setdefault(event.sequence, GeneratedSequence())
                sequence.token_ids += event.token_ids
                sequence.logprobs += event.logprobs or ()
            case SequenceFinished():
                sequences.setdefault(event.sequence, GeneratedSequence()).reason = event.reason
            case Finished():
                pass
    return [sequences[index] for index in sorted(sequences)]


async def _disconnected(request: Request) -> None:
    # The body has been read, so the only message that can still come is the end of the connection.
    while (await request.receive())["type"] != "http.disconnect":
        pass
