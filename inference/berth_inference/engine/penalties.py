"""Changes to logits that transformers has no processor for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from transformers import LogitsProcessor

from berth_inference.engine.request import SamplingParams
from berth_inference.errors import BerthError, invalid


class OccurrencePenalty(LogitsProcessor):  # type: ignore[misc, unused-ignore]  # transformers is untyped
    """Presence and frequency penalties over generated tokens, as the OpenAI API and vLLM define them."""

    def __init__(self, prompt: int, presence: float, frequency: float) -> None:
        self._prompt, self._presence, self._frequency = prompt, presence, frequency

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores of each row less its penalties, (rows, vocabulary)."""
        generated = input_ids[:, self._prompt :]
        counts = torch.zeros_like(scores).scatter_add_(
            1, generated, torch.ones_like(generated, dtype=scores.dtype)
        )
        return scores - self._frequency * counts - self._presence * (counts > 0)


class LogitBias(LogitsProcessor):  # type: ignore[misc, unused-ignore]  # transformers is untyped
    """Adds a constant to the logits of some tokens."""

    def __init__(self, bias: Iterable[tuple[int, float]], device: Any) -> None:
        pairs = list(bias)
        self._tokens = torch.tensor([token for token, _ in pairs], device=device)
        self._values = torch.tensor([float(value) for _, value in pairs], device=device)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores with the bias added, (rows, vocabulary)."""
        return scores.index_add(1, self._tokens, self._values.expand(scores.shape[0], -1))


class HammingDiversity(LogitsProcessor):  # type: ignore[misc, unused-ignore]  # transformers is untyped
    """Takes `penalty` from a token's score for each beam that has taken it at the same position.

    `taken` holds those beams' tokens; who runs the beams keeps it.
    """

    def __init__(self, penalty: float) -> None:
        self._penalty = penalty
        self.taken: list[int] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores of each row less the penalty, (rows, vocabulary)."""
        taken = torch.tensor(self.taken, dtype=torch.long, device=scores.device)
        return scores - self._penalty * torch.bincount(taken, minlength=scores.shape[1])


def own_processors(sampling: SamplingParams, prompt: int, device: Any) -> list[Any]:
    """What a request asks for beyond transformers, for `generate(logits_processor=...)`."""
    own: list[Any] = []
    if sampling.logit_bias:
        own.append(LogitBias(sampling.logit_bias, device))
    if sampling.presence_penalty or sampling.frequency_penalty:
        own.append(OccurrencePenalty(prompt, sampling.presence_penalty, sampling.frequency_penalty))
    return own


def every_token_forbidden() -> BerthError:
    """What a request is told whose arguments leave nothing to choose from."""
    return invalid(None, "These arguments together forbid every token; relax one of them.")
