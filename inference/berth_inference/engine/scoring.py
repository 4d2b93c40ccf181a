"""Log-probabilities of tokens that were already generated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

# Positions scored per forward. It bounds the memory of the logits: 64 x 128k vocabulary x 4 bytes = 32 MiB.
_BLOCK = 64


def token_logprobs(model: Any, prompt: Sequence[int], generated: Sequence[int]) -> tuple[float, ...]:
    """Natural log-probability of each generated token given all before it, under the bare model.

    A second, teacher-forced pass, in blocks: keeping every step's logits while generating would
    hold steps x rows x vocabulary numbers, gigabytes for a long answer with beams.
    """
    ids = torch.tensor([[*prompt, *generated]], device=model.device)
    cache = None
    scores: list[float] = []
    for start in range(0, ids.shape[1] - 1, _BLOCK):
        end = min(start + _BLOCK, ids.shape[1] - 1)
        output = model(ids[:, start:end], past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        logprobs = torch.log_softmax(output.logits[0].float(), dim=-1)
        targets = ids[0, start + 1 : end + 1, None].to(logprobs.device)
        scores += logprobs.gather(1, targets)[:, 0].tolist()
    return tuple(scores[len(prompt) - 1 :])
