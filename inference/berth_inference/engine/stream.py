"""The stream between an engine's thread and one consumer on an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable

from berth_inference.engine.events import Event, Finished
from berth_inference.errors import BerthError


class EventStream:
    """Events of one request. Written by an engine from any thread, read once on one event loop.

    Iteration ends after `Finished`, or raises the `BerthError` that ended the generation.
    `cancel()` may be called at any time from any thread, also before the first token; the engine
    notices within one step and then frees what the request held.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._published: deque[Event | BerthError] = deque()
        self._waking = False
        self._events: asyncio.Queue[Event | BerthError] = asyncio.Queue()
        self._cancelled = threading.Event()
        self.observer: Callable[[Event | BerthError], None] | None = None
        """Told of every event on the loop's thread, also of those that the consumer does not stay for."""
        self.started_at: float | None = None
        """When the engine took the request up, on the clock of time.monotonic; None while it waits."""

    @property
    def cancelled(self) -> bool:
        """Whether the consumer has gone."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """The rest is not wanted."""
        self._cancelled.set()

    def publish(self, event: Event | BerthError) -> None:
        """Hand the consumer its next event, or the error that takes the place of all further ones."""
        self._published.append(event)
        if self._waking:
            return
        # One wake for all that is published until the loop gets to it: each costs a system call and, while
        # threads contend for the interpreter, two changes of threads.
        self._waking = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            # The loop was closed under us: the process is going down, and nobody reads this any more.
            self.cancel()

    def _deliver(self) -> None:
        self._waking = False  # first: what is published from here on wakes again, or is seen below
        while self._published:
            event = self._published.popleft()
            self._events.put_nowait(event)
            if self.observer is not None:
                self.observer(event)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            event = await self._events.get()
            if isinstance(event, BerthError):
                raise event
            yield event
            if isinstance(event, Finished):
                return
