"""The finished sequences of one group of beams, and when the group need not look further. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from berth_inference.engine.request import SamplingParams


@dataclass(frozen=True, slots=True)
class Candidate:
    """A beam continued by one token.

    `row` is the beam's place in the step's batch, `total` the sum of the scores of all its new
    tokens, `ends` whether the token ends the sequence.
    """

    row: int
    token: int
    total: float
    ends: bool


def divide(candidates: Sequence[Candidate], size: int) -> tuple[list[Candidate], list[Candidate]]:
    """From a group's candidates, best first: which are finished sequences, and the `size` that go on.

    A candidate that ends counts only if it is among the best `size`.
    """
    finished = [candidate for candidate in candidates[:size] if candidate.ends]
    going = [candidate for candidate in candidates if not candidate.ends][:size]
    return finished, going


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A sequence of new tokens and its score, which is higher for a better one."""

    score: float
    tokens: tuple[int, ...]


class Hypotheses:
    """The best `size` finished sequences of one group, in the order in which they were found."""

    def __init__(self, size: int, sampling: SamplingParams, max_new_tokens: int) -> None:
        self.kept: list[Hypothesis] = []
        self._size = size
        self._power = sampling.length_penalty
        self._early = sampling.early_stopping
        self._longest = max_new_tokens

    def add(self, tokens: Sequence[int], total: float) -> None:
        """Keep this sequence of new tokens, its end included, if it is one of the best."""
        found = Hypothesis(self._score(total, len(tokens)), tuple(tokens))
        if len(self.kept) < self._size:
            self.kept.append(found)
        elif found.score > self._worst.score:
            self.kept.remove(self._worst)
            self.kept.append(found)

    def complete(self, best_total: float, length: int) -> bool:
        """Whether the search can end, when its best candidate has this total after `length` new tokens."""
        if len(self.kept) < self._size:
            return False
        if self._early is True:
            return True
        # Totals only fall. How far a score can still rise with the length, False does not ask: it takes
        # the present length.
        longest = self._longest if self._early == "never" and self._power > 0 else length
        return self._worst.score >= self._score(best_total, longest)

    @property
    def _worst(self) -> Hypothesis:
        return min(self.kept, key=lambda hypothesis: hypothesis.score)

    def _score(self, total: float, length: int) -> float:
        return total / float(length**self._power)
