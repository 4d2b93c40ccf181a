"""What an engine says while it generates, in order, over one stream per request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FinishReason(StrEnum):
    """Why a sequence ended."""

    STOP = "stop"
    """The model ended it, or a stop token or stop string did."""
    LENGTH = "length"
    """It reached its token or time limit."""
    CANCELLED = "cancelled"
    """Nobody wanted the rest."""


TopLogprobs = tuple[tuple[int, float], ...]
"""The likeliest tokens at one position with their natural log-probabilities, likeliest first."""


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """New tokens of one sequence, in order. The others are parallel to `token_ids` when asked for."""

    sequence: int
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None = None
    top_logprobs: tuple[TopLogprobs, ...] | None = None


@dataclass(frozen=True, slots=True)
class SequenceFinished:
    """No more tokens come for this sequence."""

    sequence: int
    reason: FinishReason


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a stream. Counts are in tokens; output counts every sequence."""

    prompt_tokens: int
    output_tokens: int


Event = TokenEvent | SequenceFinished | Finished
