"""One forward at a time, in the order in which they were asked for."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any


class ForwardLock:
    """A fair lock that a model takes for each of its forwards.

    Threads that generate with the same model then take turns step by step: a plain lock would let
    the thread that has just released it take it again. Some models also keep state between the
    parts of a forward (the frequencies of a position encoding), which turns make safe.
    """

    def __init__(self) -> None:
        self._state = threading.Lock()
        self._queue: deque[threading.Lock] = deque()
        self._held = False
        self._began: float | None = None

    @property
    def held_seconds(self) -> float:
        """How long the forward under way has taken; 0 where there is none. Never waits."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def acquire(self) -> None:
        """Wait for one's turn."""
        with self._state:
            if not self._held:
                self._held = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._queue.append(turn)
        turn.acquire()

    def release(self) -> None:
        """Let the one who has waited longest go on."""
        with self._state:
            if self._queue:
                self._queue.popleft().release()
            else:
                self._held = False

    def guard(self, model: Any) -> None:
        """Take the lock around every call of the model from now on."""

        def before(*_: Any) -> None:
            self.acquire()
            self._began = time.monotonic()

        def after(*_: Any) -> None:
            self._began = None
            self.release()

        model.register_forward_pre_hook(before)
        model.register_forward_hook(after, always_call=True)
