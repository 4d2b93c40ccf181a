"""Log-probabilities of tokens that were already generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from berth_inference.engine.events import TopLogprobs

# Positions scored per forward. It bounds the memory of the logits: 64 x 128k vocabulary x 4 bytes = 32 MiB.
_BLOCK = 64


def scored_tokens(
    model: Any, prompt: Sequence[int], generated: Sequence[int], top: int, check: Callable[[], None]
) -> tuple[tuple[float, ...], tuple[TopLogprobs, ...] | None]:
    """Natural log-probability of each generated token given all before it, under the bare model.

    With `top`, also those of that many likeliest tokens at each position; else None.

    A second, teacher-forced pass, in blocks: keeping every step's logits while generating would
    hold steps x rows x vocabulary numbers, gigabytes for a long answer with beams. `check` is called
    before each block, and may raise to end it.
    """
    ids = torch.tensor([[*prompt, *generated]], device=model.device)
    first = len(prompt) - 1  # the position that chose the first generated token
    cache = None
    scores: list[float] = []
    likeliest: list[TopLogprobs] = []
    for start in range(0, ids.shape[1] - 1, _BLOCK):
        check()
        end = min(start + _BLOCK, ids.shape[1] - 1)
        output = model(ids[:, start:end], past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        logprobs = torch.log_softmax(output.logits[0, max(0, first - start) :].float(), dim=-1)
        targets = ids[0, max(start, first) + 1 : end + 1, None].to(logprobs.device)
        scores += logprobs.gather(1, targets)[:, 0].tolist()
        if top:
            found = logprobs.topk(min(top, logprobs.shape[-1]), dim=-1)
            pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
            likeliest += [tuple(zip(tokens, values, strict=True)) for tokens, values in pairs]
    return tuple(scores), tuple(likeliest) if top else None
