"""The stream between an engine's thread and one consumer on an event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from weakref import WeakKeyDictionary

from berth_inference.engine.events import Event, Finished
from berth_inference.errors import BerthError

_log = logging.getLogger(__name__)


class _Mailbox:
    """Events on their way to one event loop, over all of its streams.

    Waking a loop is a system call, and a step publishes an event for every row: one call does for all
    that come before the loop gets to look.
    """

    def __init__(self) -> None:
        self._events: deque[tuple[EventStream, Event | BerthError]] = deque()
        self._woken = False

    def put(self, stream: EventStream, event: Event | BerthError, loop: asyncio.AbstractEventLoop) -> None:
        """From any thread. Raises RuntimeError if the loop is closed."""
        self._events.append((stream, event))
        if self._woken:  # what was put before this was looked at is found by the call under way
            return
        self._woken = True
        try:
            loop.call_soon_threadsafe(self._empty)
        except RuntimeError:
            self._woken = False
            self._events.clear()
            raise

    def _empty(self) -> None:
        self._woken = False
        while self._events:
            stream, event = self._events.popleft()
            try:
                stream.deliver(event)
            except Exception:  # one stream's observer is nothing to the others
                _log.exception("an event could not be delivered")


_mailboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Mailbox] = WeakKeyDictionary()


class EventStream:
    """Events of one request. Written by an engine from any thread, read once on one event loop.

    Iteration ends after `Finished`, or raises the `BerthError` that ended the generation.
    `cancel()` may be called at any time from any thread, also before the first token; the engine
    notices within one step and then frees what the request held.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._mailbox = _mailboxes.setdefault(loop, _Mailbox())
        self._events: deque[Event | BerthError] = deque()
        self._arrived = asyncio.Event()
        self._cancelled = threading.Event()
        self.observer: Callable[[Event | BerthError], None] | None = None
        """Told of every event on the loop's thread, also of those that the consumer does not stay for."""
        self.started_at: float | None = None
        """When the engine took the request up, on the clock of time.monotonic; None while it waits."""
        self.on_cancel: Callable[[], None] | None = None
        """Called, once or more, from the thread that cancels. For engines that wait rather than step."""

    @property
    def cancelled(self) -> bool:
        """Whether the consumer has gone."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """The rest is not wanted."""
        self._cancelled.set()
        if self.on_cancel is not None:
            self.on_cancel()

    def publish(self, event: Event | BerthError) -> None:
        """Hand the consumer its next event, or the error that takes the place of all further ones."""
        try:
            self._mailbox.put(self, event, self._loop)
        except RuntimeError:
            # The loop was closed under us: the process is going down, and nobody reads this any more.
            self.cancel()

    def deliver(self, event: Event | BerthError) -> None:
        """What has been published arrives, on the loop's thread."""
        self._events.append(event)
        self._arrived.set()
        if self.observer is not None:
            self.observer(event)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            if not self._events:
                self._arrived.clear()
                await self._arrived.wait()
            event = self._events.popleft()
            if isinstance(event, BerthError):
                raise event
            yield event
            if isinstance(event, Finished):
                return
