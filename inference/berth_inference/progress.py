"""How far the server is with loading its model, as health checks report it."""

from __future__ import annotations

import threading
import time
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """The steps of a start, in order; the last is that of a front, while its vLLM starts."""

    RESOLVING = "resolving"
    WAITING = "waiting"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    LOADING = "loading"
    WARMING_UP = "warming_up"
    STARTING = "starting"


_WORDS = {
    Phase.RESOLVING: "finding the model",
    Phase.WAITING: "waiting for another pod that downloads the weights",
    Phase.DOWNLOADING: "downloading the weights",
    Phase.VERIFYING: "checking the weights",
    Phase.LOADING: "loading the weights",
    Phase.WARMING_UP: "producing a first token",
    Phase.STARTING: "waiting for vLLM, which loads the model",
}

_MOVING = (Phase.DOWNLOADING, Phase.VERIFYING, Phase.LOADING)


class LoadProgress:
    """Written by the loader's threads, read by health checks. Bytes are those of the present phase."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._phase = Phase.RESOLVING
        self._phase_began = self._began
        self._bytes_done = 0
        self._bytes_total = 0

    def enter(self, phase: Phase) -> None:
        """A new phase has begun."""
        with self._lock:
            self._phase = phase
            self._phase_began = time.monotonic()
            self._bytes_done = self._bytes_total = 0

    def moved(self, done: int, total: int) -> None:
        """Bytes downloaded or read, and bytes in all; a total of 0 means that it is not known."""
        with self._lock:
            self._bytes_done, self._bytes_total = done, total

    def report(self) -> dict[str, Any]:
        """JSON for /health: phase, a sentence, seconds since the start.

        While bytes move: how many of how many, and the seconds left for them at the rate so far.
        """
        with self._lock:
            phase, done, total = self._phase, self._bytes_done, self._bytes_total
            taken = time.monotonic() - self._phase_began
        report: dict[str, Any] = {
            "phase": phase.value,
            "message": _WORDS[phase],
            "elapsed_seconds": round(time.monotonic() - self._began, 1),
        }
        if phase in _MOVING and total:
            report["message"] = f"{_WORDS[phase]}: {done / 2**20:.0f} of {total / 2**20:.0f} MiB"
            report |= {"bytes_done": done, "bytes_total": total}
            if done:
                report["seconds_left"] = round(taken * (total - done) / done, 1)
        return report
