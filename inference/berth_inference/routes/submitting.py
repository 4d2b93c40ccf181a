"""Hands requests to the engine, all of them or none."""

from __future__ import annotations

from collections.abc import Sequence

from berth_inference.engine import Engine, EventStream, GenerationRequest


def submit_all(engine: Engine, requests: Sequence[GenerationRequest]) -> list[EventStream]:
    """A stream for each. Raises `BerthError` when one is refused, with none of the others left running."""
    streams: list[EventStream] = []
    try:
        for request in requests:
            streams.append(engine.submit(request))
    except BaseException:
        for stream in streams:
            stream.cancel()
        raise
    return streams
