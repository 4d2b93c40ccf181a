"""What is asked of a server, the same for every server: plain data, the same each time."""

from __future__ import annotations

import random
from dataclasses import dataclass

from benchmarks.inference.model import VOCABULARY


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt of so many tokens, and exactly so many new ones, `after` seconds from the start."""

    prompt: int
    new: int
    after: float = 0.0

    def body(self, source: random.Random) -> dict[str, object]:
        """The request's JSON. Every word of the prompt is one token."""
        words = " ".join(f"w{source.randrange(1, VOCABULARY)}" for _ in range(self.prompt))
        arguments = {"max_new_tokens": self.new, "min_new_tokens": self.new, "do_sample": False}
        return {"prompt": words, "return_full_text": False, "generate_kwargs": arguments}


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests that arrive together or at their times; `concurrent` at most are open at once."""

    name: str
    asks: tuple[Ask, ...]
    concurrent: int


def workloads() -> dict[str, Workload]:
    """By name."""
    source = random.Random(4)

    def mixed(count: int) -> tuple[Ask, ...]:
        return tuple(Ask(source.randint(8, 300), source.randint(16, 200)) for _ in range(count))

    long_arrivals = tuple(Ask(32, 150) for _ in range(8)) + tuple(
        Ask(1500, 8, 0.5 + i * 0.7) for i in range(4)
    )
    made = [
        Workload("single stream", tuple(Ask(32, 64) for _ in range(4)), 1),
        Workload("16 mixed", mixed(16), 16),
        Workload("64 mixed", mixed(64), 64),
        Workload("long prompts arrive", long_arrivals, 12),
        Workload("16 contexts of 1000", tuple(Ask(1000, 32) for _ in range(16)), 16),
    ]
    return {workload.name: workload for workload in made}
