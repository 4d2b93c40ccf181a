"""The stream between an engine's thread and an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from berth_inference.engine import Event, EventStream, Finished, TokenEvent
from berth_inference.errors import BerthError


async def test_events_arrive_in_order_however_the_thread_and_the_loop_meet() -> None:
    stream = EventStream(asyncio.get_running_loop())
    observed: list[Event | BerthError] = []
    stream.observer = observed.append
    tokens: list[Event] = [TokenEvent(0, (token,)) for token in range(20_000)]

    def publish() -> None:
        for event in [*tokens, Finished(1, len(tokens))]:
            stream.publish(event)

    thread = threading.Thread(target=publish)
    thread.start()
    received = [event async for event in stream]
    thread.join()
    assert received == observed == [*tokens, Finished(1, len(tokens))]


async def test_the_observer_hears_the_end_of_a_stream_that_nobody_reads() -> None:
    stream = EventStream(asyncio.get_running_loop())
    heard = asyncio.Event()
    stream.observer = lambda event: heard.set() if isinstance(event, Finished) else None
    stream.publish(TokenEvent(0, (1,)))
    stream.publish(Finished(1, 1))
    await asyncio.wait_for(heard.wait(), 5)


async def test_events_published_together_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    wakes: list[Callable[..., Any]] = []
    wake = loop.call_soon_threadsafe
    monkeypatch.setattr(
        loop, "call_soon_threadsafe", lambda called, *given: wakes.append(called) or wake(called, *given)
    )
    streams = [EventStream(loop) for _ in range(5)]
    for step in range(2):  # what comes after the first delivery wakes it again
        for index, stream in enumerate(streams):
            stream.publish(TokenEvent(0, (step, index)))
        await asyncio.sleep(0)
        assert len(wakes) == step + 1
    for index, stream in enumerate(streams):
        stream.publish(Finished(1, 2))
        assert [event async for event in stream] == [
            TokenEvent(0, (0, index)),
            TokenEvent(0, (1, index)),
            Finished(1, 2),
        ]


async def test_an_observer_that_fails_takes_nothing_from_other_streams() -> None:
    def fail(_: object) -> None:
        raise ValueError

    ill, healthy = (EventStream(asyncio.get_running_loop()) for _ in range(2))
    ill.observer = fail
    ill.publish(Finished(1, 0))
    healthy.publish(Finished(2, 0))
    assert [event async for event in healthy] == [Finished(2, 0)]


def test_a_loop_that_was_closed_cancels_its_streams() -> None:
    loop = asyncio.new_event_loop()
    first, second = EventStream(loop), EventStream(loop)
    loop.close()
    for stream in (first, second):
        stream.publish(Finished(1, 0))
        assert stream.cancelled
