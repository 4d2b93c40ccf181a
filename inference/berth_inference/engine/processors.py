"""What changes a request's logits before a token is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from berth_inference.engine.arguments import generation_config
from berth_inference.engine.penalties import own_processors
from berth_inference.engine.request import GenerationRequest


def logits_processors(request: GenerationRequest, model: Any, last: Sequence[Any] = ()) -> Any:
    """transformers' own processors, put together as `generate` does it, with ours and those of `last` behind.

    Raises ValueError where `generate` would.
    """
    prompt = torch.tensor([request.prompt], device=model.device)
    config, _ = model._prepare_generation_config(generation_config(request))
    model._prepare_special_tokens(config, kwargs_has_attention_mask=True, device=model.device)
    config.max_length = len(request.prompt) + request.max_new_tokens
    config.min_length = 0  # the minimum of new tokens says the same
    return model._get_logits_processor(
        generation_config=config,
        input_ids_seq_length=len(request.prompt),
        encoder_input_ids=prompt,
        logits_processor=[*own_processors(request.sampling, len(request.prompt), model.device), *last],
        device=model.device,
        model_kwargs={},  # no row has padding, and their number may change
    )
