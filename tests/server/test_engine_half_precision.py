"""In bfloat16 a batch may choose another token than one request alone, but only where it is a near tie."""

from __future__ import annotations

import asyncio
import random

import pytest
import torch

from berth_inference.engine import GenerationRequest
from server.engine_requests import answered, expected
from server.model_zoo import VOCABULARY, make_model
from server.running_engine import running

pytestmark = pytest.mark.thorough

# bfloat16 has 8 bits of precision, so each rounding moves a logit by up to 1/256 of its size; a few
# of them add up over the layers of a small model.
_ROUNDING = 4 / 256


@pytest.mark.parametrize("architecture", ["llama", "phi3", "gemma2", "gpt-neox"])
async def test_a_first_different_token_is_a_near_tie(architecture: str) -> None:
    source = random.Random(architecture)
    requests = [
        GenerationRequest(
            prompt=tuple(source.randrange(3, VOCABULARY) for _ in range(source.randint(2, 60))),
            max_new_tokens=24,
            pad_token_id=0,
        )
        for _ in range(12)
    ]
    async with running(architecture, "bfloat16") as engine:
        got = await asyncio.gather(*(answered(engine, request) for request in requests))
    model = make_model(architecture, "bfloat16")
    for request, (tokens,) in zip(requests, got, strict=True):
        (alone,) = expected(model, request)
        different = [index for index in range(24) if tokens[index] != alone[index]]
        if different:
            _assert_near_tie(model, [*request.prompt, *alone[: different[0]]], tokens[different[0]])


def _assert_near_tie(model: torch.nn.Module, ids: list[int], chosen: int) -> None:
    with torch.inference_mode():
        logits = model(torch.tensor([ids], device=model.device)).logits[0, -1].float()
    assert float(logits.max() - logits[chosen]) <= _ROUNDING * float(logits.abs().max())
