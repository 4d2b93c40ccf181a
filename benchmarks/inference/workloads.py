"""What is asked of a server, the same for every server: plain data, the same each time."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt of so many tokens, and exactly so many new ones, `after` seconds from the start."""

    prompt: int
    new: int
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests that arrive together or at their times; `concurrent` at most are open at once.

    Where there are `others`, those run all the while, and only `asks` are timed: they begin a second
    later and stop when the first of the others has ended.
    """

    name: str
    asks: tuple[Ask, ...]
    concurrent: int
    others: tuple[Ask, ...] = ()


SINGLE = "single stream"
MIXED_16 = "16 mixed"
MIXED_64 = "64 mixed"
LONG_PROMPTS = "long prompts arrive"
CONTEXTS = "16 contexts of 1000"
FIRST_IDLE = "first token, idle"
FIRST_BUSY = "first token, beside 15"


def workloads() -> dict[str, Workload]:
    """By name."""
    source = random.Random(4)

    def mixed(count: int) -> tuple[Ask, ...]:
        return tuple(Ask(source.randint(8, 300), source.randint(16, 200)) for _ in range(count))

    long_arrivals = tuple(Ask(32, 150) for _ in range(8)) + tuple(
        Ask(1500, 8, 0.5 + i * 0.7) for i in range(4)
    )
    made = [
        Workload(SINGLE, tuple(Ask(32, 64) for _ in range(4)), 1),
        Workload(MIXED_16, mixed(16), 16),
        Workload(MIXED_64, mixed(64), 64),
        Workload(LONG_PROMPTS, long_arrivals, 12),
        Workload(CONTEXTS, tuple(Ask(1000, 32) for _ in range(16)), 16),
        Workload(FIRST_IDLE, (Ask(100, 1),) * 20, 1),
        Workload(FIRST_BUSY, (Ask(100, 1),) * 100, 1, others=(Ask(32, 400),) * 15),
    ]
    return {workload.name: workload for workload in made}
