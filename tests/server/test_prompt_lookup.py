"""Drafts from the text so far: whatever they are, a request's tokens are those of `generate` (float32)."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from berth_inference.engine import GenerationRequest, SamplingParams
from berth_inference.engine.batch.engine import BatchEngine
from berth_inference.engine.batch.prompt_lookup import PromptLookup, draft
from server.engine_requests import answered, expected, random_sampling
from server.model_zoo import ARCHITECTURES, ORIGINAL_CONTEXT, VOCABULARY, make_model
from server.running_engine import running

REQUESTS_PER_MODEL = 12
DRAFTS: dict[str, tuple[list[int], int, list[int]]] = {
    "what followed the newest three": ([1, 2, 3, 4, 5, 6, 7, 1, 2, 3], 4, [4, 5, 6, 7]),
    "no more than asked for": ([1, 2, 3, 4, 5, 6, 7, 1, 2, 3], 2, [4, 5]),
    "where they occurred last": ([1, 2, 3, 4, 1, 2, 3, 5, 9, 1, 2, 3], 2, [5, 9]),
    "three before two, though two occurred later": ([1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3], 1, [4]),
    "two where three have not occurred": ([9, 2, 3, 4, 5, 1, 2, 3], 2, [4, 5]),
    "a circle goes on": ([1, 2, 1, 2, 1, 2], 4, [1, 2, 1, 2]),
    "one token over and over": ([7, 7, 7], 4, [7, 7, 7, 7]),
    "nothing where only the newest one has occurred": ([5, 1, 6, 7, 1], 4, []),
    "nothing where nothing has occurred": ([1, 2, 3, 4, 5], 4, []),
    "nothing of a text of two tokens": ([1, 1], 4, []),
    "nothing where nothing is asked for": ([1, 2, 1, 2, 1, 2], 0, []),
    "nothing where less than nothing is": ([1, 2, 1, 2, 1, 2], -1, []),
}


@pytest.mark.parametrize("case", DRAFTS)
def test_a_draft_is_what_followed_before(case: str) -> None:
    tokens, most, found = DRAFTS[case]
    assert draft(torch.tensor(tokens), most) == found


def test_wrong_drafts_are_followed_by_longer_and_longer_pauses_until_one_is_right() -> None:
    text, lookup = torch.tensor([7, 7, 7]), PromptLookup()

    def pause() -> int:
        steps = 0
        while not lookup.draft(text, 1):
            steps += 1
        return steps

    pauses = []
    for accepted in (0, 0, 0, 0, 0, 0, 1, 0, 0):
        pauses.append(pause())
        lookup.learn(accepted)
    assert pauses == [0, 1, 2, 4, 8, 16, 16, 0, 1]


def repetitive(tokens: int = 40, **changes: Any) -> GenerationRequest:
    """What has been said is likelier to be said again, so that a random model soon turns in circles."""
    sampling = changes.pop("sampling", SamplingParams(do_sample=False, repetition_penalty=0.3))
    prompt = changes.pop("prompt", (11, 12, 13, 14, 11, 12))
    return GenerationRequest(
        prompt=prompt, max_new_tokens=tokens, pad_token_id=0, sampling=sampling, **changes
    )


def widths(engine: BatchEngine) -> list[int]:
    """Tokens in a row of each forward from now on."""
    found: list[int] = []
    engine._model.register_forward_pre_hook(lambda _, arguments: found.append(arguments[0].shape[1]))
    return found


@pytest.mark.thorough
@pytest.mark.parametrize("architecture", ARCHITECTURES)
async def test_requests_that_run_alone_equal_generate(architecture: str) -> None:
    source = random.Random(architecture)
    requests = []
    for index in range(REQUESTS_PER_MODEL):
        # Every second one stays within what models whose position encoding changes can batch.
        prompt, new = (90, ORIGINAL_CONTEXT) if index % 2 else (16, 30)
        circle = [source.randrange(3, VOCABULARY) for _ in range(source.randint(1, 9))]
        sampling = random_sampling(source, beams=False)
        requests.append(
            repetitive(
                source.randint(1, new),
                prompt=tuple((circle * 90)[: source.randint(1, prompt)]),
                # Without n-gram blocks, for with them nothing repeats itself.
                sampling=replace(
                    sampling, no_repeat_ngram_size=0, repetition_penalty=source.choice([0.3, 1.0])
                ),
                seed=source.randrange(2**31) if sampling.do_sample else None,
            )
        )
    async with running(architecture) as engine:
        got = [await answered(engine, request) for request in requests]
        accepted = engine.occupancy.accepted_tokens
    # A model of its own for each: one with dynamic RoPE remembers its longest sequence.
    alone = [expected(make_model(architecture), request) for request in requests]
    wrong = [index for index in range(len(requests)) if got[index] != alone[index]]
    assert not wrong, [(requests[index], got[index], alone[index]) for index in wrong]
    assert accepted > 0


async def test_each_right_token_saves_a_step() -> None:
    async with running() as engine:
        forwards = widths(engine)
        got = await answered(engine, repetitive(40))
        drafted, accepted = engine.occupancy.draft_tokens, engine.occupancy.accepted_tokens
    assert got == expected(make_model("llama"), repetitive(40))
    assert accepted >= 10
    assert len(forwards) == 1 + 39 - accepted  # the prompt gave the first token
    assert sum(width - 1 for width in forwards[1:]) == drafted


async def test_an_answer_ends_where_it_would_have_ended_within_a_draft() -> None:
    whole = expected(make_model("llama"), repetitive(40))[0]
    circle = whole[-1]
    async with running() as engine:
        for tokens in range(1, 41):
            assert await answered(engine, repetitive(tokens)) == [whole[:tokens]]
        stopped = await answered(engine, repetitive(40, stop_token_ids=(circle,)))
        accepted = engine.occupancy.accepted_tokens
    assert stopped == [whole[: whole.index(circle) + 1]]
    assert accepted > 0


async def test_a_batch_of_several_drafts_nothing() -> None:
    asked = repetitive(40, n=2, sampling=SamplingParams(do_sample=True, top_k=1), seed=5)
    async with running() as engine:
        assert await answered(engine, asked) == expected(make_model("llama"), asked)
        assert engine.occupancy.draft_tokens == 0


async def test_nothing_is_drafted_where_that_is_switched_off() -> None:
    async with running(lookup_tokens=0) as engine:
        forwards = widths(engine)
        await answered(engine, repetitive(40))
        assert engine.occupancy.draft_tokens == 0
    assert forwards[1:] == [1] * 39
