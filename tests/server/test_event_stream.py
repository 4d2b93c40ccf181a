"""The stream between an engine's thread and an event loop."""

from __future__ import annotations

import asyncio
import threading

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
