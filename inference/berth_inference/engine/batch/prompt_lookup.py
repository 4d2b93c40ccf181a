"""Drafts of what comes next, from what is there: texts repeat names, quotations, code, and what they are asked about.

A step of one sequence is bound by the reading of weights, so that one over a few tokens takes hardly longer than
one over a single token. It shows which tokens of a draft the model would have chosen itself. Only those are kept:
the text is that of one step after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

# How many of the newest tokens must have occurred before, the most first. One alone is mostly chance.
_NEWEST = (3, 2)
# Steps without a draft after several wrong ones, at most: what a draft adds to a step (a tenth to a third, by
# benchmarks.inference.forward --draft 4) is then less than two hundredths of all.
_LONGEST_PAUSE = 16


def draft(tokens: torch.Tensor, most: int) -> list[int]:
    """`most` tokens that may follow `tokens`, (length,); none where the newest have not occurred before.

    They are what followed at the last time, over again where that is less.
    """
    for size in _NEWEST:
        if most < 1 or len(tokens) <= size:
            continue
        earlier = tokens.unfold(0, size, 1)[:-1]
        places = (earlier == tokens[-size:]).all(dim=1).nonzero()
        if len(places):
            followed = tokens[int(places[-1]) + size :][:most].tolist()
            return [followed[index % len(followed)] for index in range(most)]
    return []


@dataclass(slots=True)
class PromptLookup:
    """Drafts for one sequence, less often while they are wrong."""

    _pause: int = 0
    _left: int = 0

    def draft(self, tokens: torch.Tensor, most: int) -> list[int]:
        """As the function of that name, or none for now."""
        if self._left:
            self._left -= 1
            return []
        return draft(tokens, most)

    def learn(self, accepted: int) -> None:
        """How many tokens of a draft were right."""
        self._pause = 0 if accepted else min(max(1, 2 * self._pause), _LONGEST_PAUSE)
        self._left = self._pause
