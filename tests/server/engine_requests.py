"""Random requests, what an engine makes of them, and what `generate` makes of the same arguments."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from berth_inference.engine import (
    Engine,
    Finished,
    FinishReason,
    GenerationRequest,
    SamplingParams,
    SequenceFinished,
    TokenEvent,
)
from berth_inference.engine.arguments import generation_config
from server.model_zoo import END, VOCABULARY

LONGEST_PROMPT = 90
LONGEST_ANSWER = 40


def random_request(source: random.Random, *, beams: bool = True) -> GenerationRequest:
    """Any mixture of arguments that a client may send."""
    prompt = tuple(
        source.randrange(3, VOCABULARY) for _ in range(source.choice([1, 3, 8, 20, 45, LONGEST_PROMPT]))
    )
    new = source.randint(1, LONGEST_ANSWER)
    sampling = random_sampling(source, beams=beams)
    wide = sampling.num_beams if sampling.num_beams > 1 else 3 if sampling.do_sample else 1
    return GenerationRequest(
        prompt=prompt,
        max_new_tokens=new,
        min_new_tokens=source.choice([0, 0, source.randint(0, new)]),
        n=source.randint(1, wide),
        sampling=sampling,
        stop_token_ids=source.choice([(), (END,), (END, 5, 77)]),
        pad_token_id=0,
        seed=source.randrange(2**31) if sampling.do_sample else None,
    )


def random_sampling(source: random.Random, *, beams: bool = True) -> SamplingParams:
    """Each argument is at its neutral value more often than not."""

    def maybe(chance: float, value: Any, neutral: Any) -> Any:
        return value if source.random() < chance else neutral

    sample = source.random() < 0.5
    return SamplingParams(
        do_sample=sample,
        temperature=maybe(0.5, source.choice([0.5, 0.8, 1.3]), 1.0),
        top_k=maybe(0.5, source.choice([1, 4, 10, 50]), 0),
        top_p=maybe(0.4, source.choice([0.3, 0.8, 0.95]), 1.0),
        min_p=maybe(0.2, 0.05, 0.0),
        typical_p=maybe(0.1, 0.7, 1.0),
        repetition_penalty=maybe(0.3, source.choice([0.8, 1.2]), 1.0),
        no_repeat_ngram_size=maybe(0.2, 2, 0),
        encoder_no_repeat_ngram_size=maybe(0.1, 2, 0),
        bad_words_ids=maybe(0.2, ((7,), (9, 11)), ()),
        forced_bos_token_id=maybe(0.05, 8, None),
        forced_eos_token_id=maybe(0.1, (END,), ()),
        remove_invalid_values=maybe(0.1, True, False),
        num_beams=maybe(0.15, source.choice([2, 3]), 1) if beams else 1,
        length_penalty=maybe(0.2, 0.6, 1.0),
        early_stopping=maybe(0.2, True, False),
    )


def expected(model: Any, request: GenerationRequest) -> list[list[int]]:
    """`generate` alone: each sequence up to and with the token that ended it."""
    import torch

    prompt = torch.tensor([request.prompt], device=model.device)
    if request.seed is not None:
        torch.manual_seed(request.seed)
    with torch.inference_mode():
        output = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), generation_config=generation_config(request)
        )
    rows = output[:, len(request.prompt) :].tolist()
    return [_until_end(row, request.stop_token_ids) for row in rows]


def _until_end(tokens: list[int], ends: Sequence[int]) -> list[int]:
    for index, token in enumerate(tokens):
        if token in ends:
            return tokens[: index + 1]
    return tokens


async def answered(engine: Engine, request: GenerationRequest) -> list[list[int]]:
    """The tokens of each sequence, checked for what every stream promises."""
    sequences: dict[int, list[int]] = {index: [] for index in range(request.n)}
    reasons: dict[int, FinishReason] = {}
    total = 0
    async for event in engine.submit(request):
        match event:
            case TokenEvent():
                assert event.sequence not in reasons
                sequences[event.sequence] += event.token_ids
            case SequenceFinished():
                reasons[event.sequence] = event.reason
            case Finished():
                total = event.output_tokens
                assert event.prompt_tokens == len(request.prompt)
    assert reasons.keys() == sequences.keys()
    assert total == sum(map(len, sequences.values()))
    for index, reason in reasons.items():
        stopped = sequences[index][-1] in request.stop_token_ids
        assert reason is (FinishReason.STOP if stopped else FinishReason.LENGTH)
    return [sequences[index] for index in sorted(sequences)]


async def answered_in_random_order(
    engine: Engine, requests: Sequence[GenerationRequest], source: random.Random
) -> list[list[list[int]]]:
    """All requests, arriving in small groups while others run."""
    tasks: dict[int, asyncio.Task[list[list[int]]]] = {}
    order = list(range(len(requests)))
    source.shuffle(order)
    while order:
        for index in [order.pop() for _ in range(min(len(order), source.randint(1, 6)))]:
            tasks[index] = asyncio.create_task(answered(engine, requests[index]))
        await asyncio.sleep(source.choice([0, 0.005, 0.02]))
    return [await tasks[index] for index in range(len(requests))]
