"""A keyed work queue: what is due, once each, never the same key twice at a time, slower after failures.

The semantics are those of client-go's rate-limited queue: a key added while it waits is not added again; a key
added while it is being worked on comes back when that work is done; a key whose work failed comes back after a
delay that doubles.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

FIRST_DELAY_SECONDS = 0.2
"""Long enough for a conflicting write to settle, short enough that nobody notices one."""

LONGEST_DELAY_SECONDS = 60.0
"""A cause that needs a person is looked at once a minute: cheap, and prompt once it is mended."""


class WorkQueue(Generic[Key]):
    """Keys that are due. Used from one event loop; none of its methods blocks but `get`."""

    def __init__(
        self, first_delay: float = FIRST_DELAY_SECONDS, longest_delay: float = LONGEST_DELAY_SECONDS
    ) -> None:
        self._first_delay = first_delay
        self._longest_delay = longest_delay
        self._ready: deque[Key] = deque()
        self._due: set[Key] = set()
        self._at_work: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._something_ready = asyncio.Event()

    def add(self, key: Key) -> None:
        """Mark a key as due now. A delay that it was waiting out is cut short."""
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        if key in self._due:
            return
        self._due.add(key)
        if key not in self._at_work:
            self._hand_out(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Mark a key as due after a delay, unless it is due sooner already."""
        if key in self._due:
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        waiting = self._timers.get(key)
        if waiting is not None:
            if waiting.when() <= when:
                return
            waiting.cancel()
        self._timers[key] = loop.call_at(when, self.add, key)

    async def get(self) -> Key:
        """Wait for a key that is due and take it; `done` or `failed` must follow."""
        while not self._ready:
            self._something_ready.clear()
            await self._something_ready.wait()
        key = self._ready.popleft()
        self._due.discard(key)
        self._at_work.add(key)
        return key

    def done(self, key: Key) -> None:
        """The work succeeded: its failures are forgotten."""
        self._failures.pop(key, None)
        self._finish(key)

    def failed(self, key: Key, retry_after: float | None = None) -> float:
        """The work failed: the key comes back after the returned number of seconds, at least `retry_after`."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        # The exponent is capped so that a key failing for days does not compute astronomic powers.
        delay = min(self._longest_delay, self._first_delay * 2.0 ** min(count, 30))
        delay = max(delay, retry_after or 0.0)
        self._finish(key)
        self.add_after(key, delay)
        return delay

    def _finish(self, key: Key) -> None:
        self._at_work.discard(key)
        if key in self._due:
            self._hand_out(key)

    def _hand_out(self, key: Key) -> None:
        self._ready.append(key)
        self._something_ready.set()

    @property
    def idle(self) -> bool:
        """Whether nothing is due or being worked on (delays may still be running)."""
        return not self._due and not self._at_work

    def close(self) -> None:
        """Cancel the delays that are running."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
