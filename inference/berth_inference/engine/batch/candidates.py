"""Sampling from the few tokens that can be chosen at all, for many rows in a few operations.

`generate` masks, sorts and draws over the whole vocabulary, which can cost more than the model. Here
the likeliest tokens are taken out first, and transformers' arithmetic is done on those. The result
is the same: what is left out has probability 0 there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

# Candidates tried first where no top_k bounds them, and how many times more each further try takes.
_FIRST_TRY = 256
_GROWTH = 16
# Probability by which a sum over part of the vocabulary may differ from one over all of it: some
# hundred roundings of float32.
_ROUNDING = 1e-4


@dataclass(frozen=True, slots=True)
class Narrowing:
    """One row's arguments, by their transformers names and meanings."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float

    @property
    def bounded(self) -> bool:
        """Whether anything narrows the vocabulary down."""
        return self.top_k > 0 or self.top_p < 1.0 or self.min_p > 0.0


@dataclass(frozen=True, slots=True)
class Candidates:
    """Tokens of each row and their final logits, -inf for what cannot be chosen; (rows, candidates).

    In order of likelihood from the least, equal ones by token: transformers sums in that order.
    """

    tokens: torch.Tensor
    logits: torch.Tensor


def candidates(logits: torch.Tensor, rows: Sequence[Narrowing]) -> Candidates:
    """What transformers' temperature, top_k, top_p and min_p leave of `logits`, (rows, vocabulary)."""
    vocabulary = logits.shape[-1]
    scaled = logits / _column(logits, [row.temperature for row in rows])
    top_k = [min(row.top_k, vocabulary) if row.top_k > 0 else vocabulary for row in rows]
    # One more than asked for, to see whether others are as likely as the last: they are kept as well.
    size = max((k + 1 for k in top_k if k < vocabulary), default=0)
    if any(k == vocabulary for k in top_k):
        size = max(size, _FIRST_TRY)
    while True:
        size = min(size, vocabulary)
        found = _among_likeliest(size, scaled, top_k, rows)
        if found is not None:
            return found
        size *= _GROWTH


def _among_likeliest(
    size: int, scaled: torch.Tensor, top_k: Sequence[int], rows: Sequence[Narrowing]
) -> Candidates | None:
    """The candidates among the `size` likeliest tokens; None if there may be more of them."""
    values, tokens = scaled.topk(size, dim=-1)
    last = torch.tensor([[min(k, size) - 1] for k in top_k], device=scaled.device)
    kept = values.masked_fill(values < values.gather(-1, last), -torch.inf)
    # Closed rows are those whose every candidate has been looked at, by top_k alone.
    closed = kept[:, -1:] == -torch.inf
    if size == scaled.shape[-1]:
        closed = torch.ones_like(closed)
    # Ascending, equal ones by token: the order that a stable sort of the whole vocabulary has.
    tokens, order = tokens.sort(dim=-1)
    kept, order = kept.gather(-1, order).sort(dim=-1, stable=True)
    tokens = tokens.gather(-1, order)
    odds = kept.softmax(dim=-1)
    rest = torch.zeros_like(odds[:, :1])
    if not bool(closed.all()):
        odds = torch.where(closed, odds, scaled.softmax(dim=-1).gather(-1, tokens))
        mass = odds.sum(dim=-1, keepdim=True)
        rest = torch.where(closed, rest, (1 - mass).clamp(min=0))
        by_top_p = mass >= _column(odds, [row.top_p for row in rows]) + _ROUNDING
        by_min_p = odds[:, :1] < _column(odds, [row.min_p * (1 - _ROUNDING) for row in rows]) * odds[:, -1:]
        unbounded = torch.tensor([[k == scaled.shape[-1]] for k in top_k], device=scaled.device)
        if not bool((closed | unbounded & (by_top_p | by_min_p)).all()):
            return None
    return Candidates(tokens, _narrowed(kept, odds, rest, rows))


def _narrowed(
    kept: torch.Tensor, odds: torch.Tensor, rest: torch.Tensor, rows: Sequence[Narrowing]
) -> torch.Tensor:
    """`kept` less what top_p and min_p remove. `rest` is the probability of what is not looked at."""
    if any(row.top_p < 1.0 for row in rows):
        threshold = _column(odds, [1 - row.top_p if row.top_p < 1.0 else -1.0 for row in rows])
        removed = odds.cumsum(dim=-1) + rest <= threshold
        removed[:, -1] = False
        kept = kept.masked_fill(removed, -torch.inf)
    if any(row.min_p > 0.0 for row in rows):
        odds = kept.softmax(dim=-1)
        removed = odds < _column(odds, [row.min_p for row in rows]) * odds[:, -1:]
        removed[:, -1] = False
        kept = kept.masked_fill(removed, -torch.inf)
    return kept


def _column(like: torch.Tensor, values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]
