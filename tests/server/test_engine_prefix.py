"""Beginnings of prompts that were read before are not read again, and nobody can tell by the tokens (float32)."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from berth_inference.engine import GenerationRequest, SamplingParams
from berth_inference.engine.batch.engine import BatchEngine
from berth_inference.engine.batch.kv_cache import Staging
from berth_inference.engine.batch.prefix_index import BLOCK
from berth_inference.engine.batch.scheduler import Regime
from berth_inference.errors import BerthError
from server.engine_requests import answered, answered_in_random_order, expected, random_sampling
from server.model_zoo import ARCHITECTURES, ORIGINAL_CONTEXT, VOCABULARY, make_model
from server.running_engine import running

pytestmark = pytest.mark.thorough

REQUESTS_PER_MODEL = 12
SYSTEM = tuple(range(3, 3 + 2 * BLOCK))


def request(*prompt: int, tokens: int = 8, **changes: Any) -> GenerationRequest:
    return GenerationRequest(prompt=prompt, max_new_tokens=tokens, pad_token_id=0, **changes)


def with_shared_beginnings(source: random.Random) -> list[GenerationRequest]:
    """Prompts that share beginnings of any length, with each other and with beginnings of beginnings."""
    texts = [tuple(source.randrange(3, VOCABULARY) for _ in range(110)) for _ in range(2)]
    requests = []
    for _ in range(REQUESTS_PER_MODEL):
        shared = source.choice(texts)[: source.choice([BLOCK, BLOCK + 1, 2 * BLOCK, 70, 100, 110])]
        own = tuple(source.randrange(3, VOCABULARY) for _ in range(source.choice([0, 1, 7, 40])))
        sampling = random_sampling(source, beams=False)
        requests.append(
            request(
                *shared,
                *own,
                tokens=source.randint(1, 30),
                n=source.randint(1, 3) if sampling.do_sample else 1,
                sampling=sampling,
                seed=source.randrange(2**31) if sampling.do_sample else None,
            )
        )
    return requests


@pytest.mark.timeout(300)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
async def test_answers_equal_generate_whatever_was_read_before(architecture: str) -> None:
    source = random.Random(architecture)
    requests = with_shared_beginnings(source)
    async with running(architecture, max_rows=8, step_tokens=24) as engine:
        got = await answered_in_random_order(engine, requests, source)
        hits = engine.occupancy.prefix_hits
    # A model of its own for each: one with dynamic RoPE remembers its longest sequence.
    alone = [expected(make_model(architecture), each) for each in requests]
    wrong = [index for index in range(len(requests)) if got[index] != alone[index]]
    assert not wrong, [(requests[index], got[index], alone[index]) for index in wrong]
    assert hits > 0 or architecture == "llama-dynamic-rope"  # whose long prompts are not batched


async def read_tokens(engine: BatchEngine, asked: GenerationRequest) -> list[int]:
    """The widths of the forwards that read a prompt, having checked the answer."""
    widths: list[int] = []
    hook = engine._model.register_forward_hook(lambda _, args, __: widths.append(args[0].shape[1]))
    assert await answered(engine, asked) == expected(make_model("llama"), asked)
    hook.remove()
    new = asked.max_new_tokens
    return widths[: len(widths) - new + 1]


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        pytest.param((*SYSTEM, 90, 91, 92), [3], id="what comes after a shared beginning"),
        pytest.param((*SYSTEM, 7, 8), [2], id="the whole prompt, but for what is no whole block"),
        pytest.param(SYSTEM, [BLOCK], id="a known prompt's last token, and its block, for what follows it"),
        pytest.param(SYSTEM[: BLOCK + 5], [5], id="the beginning of a beginning"),
        pytest.param((99, *SYSTEM), [1 + 2 * BLOCK], id="nothing is known of another text"),
    ],
)
async def test_only_what_is_not_known_is_read(prompt: tuple[int, ...], read: list[int]) -> None:
    async with running() as engine:
        assert await read_tokens(engine, request(*SYSTEM, 7, 8)) == [2 + 2 * BLOCK]
        assert await read_tokens(engine, request(*prompt)) == read
        assert engine.occupancy.prefix_queries == len(SYSTEM) + 2 + len(prompt)
        assert engine.occupancy.prefix_hits == len(prompt) - sum(read)


async def test_prompts_that_arrive_together_are_read_once() -> None:
    asked = [request(*SYSTEM, own) for own in range(90, 96)]
    async with running() as engine:
        await asyncio.gather(*(answered(engine, each) for each in asked))
        assert engine.occupancy.prefix_hits == 5 * len(SYSTEM)


async def test_what_is_known_takes_nothing_of_a_steps_share() -> None:
    async with running(step_tokens=16) as engine:
        await answered(engine, request(*SYSTEM, 7, 8))
        assert await read_tokens(engine, request(*SYSTEM, *range(70, 90))) == [16, 4]


async def test_it_can_be_switched_off() -> None:
    async with running(prefix_share=0) as engine:
        for _ in range(2):
            assert await read_tokens(engine, request(*SYSTEM, 7)) == [1 + 2 * BLOCK]
        assert (engine.occupancy.prefix_queries, engine.occupancy.prefix_hits) == (0, 0)


async def test_regimes_of_position_encodings_share_nothing() -> None:
    long = (*SYSTEM, *range(70, 80))
    short = long[: ORIGINAL_CONTEXT - 8]
    async with running("phi3-longrope") as engine:
        for asked in (request(*long), request(*short), request(*long)):
            assert await answered(engine, asked) == expected(make_model("phi3-longrope"), asked)
        assert engine.occupancy.prefix_hits == len(SYSTEM)
        kept = {key[0] for key in engine._prefixes._index._blocks}
        assert {int(Regime.SHORT), int(Regime.LONG)} <= kept


async def test_a_prompt_that_was_not_read_to_its_end_leaves_nothing() -> None:
    async with running(step_tokens=16) as engine:
        reads = 0

        def fail(_: Any, args: tuple[Any, ...]) -> None:
            nonlocal reads
            reads += 1
            if reads == 2:
                raise RuntimeError

        hook = engine._model.register_forward_pre_hook(fail)
        with pytest.raises(BerthError):
            await answered(engine, request(*SYSTEM, 7))
        hook.remove()
        assert engine._prefixes.cells == 0
        stream = engine.submit(request(*SYSTEM, 7))
        engine._model.register_forward_pre_hook(lambda *_: stream.cancel())
        assert [event async for event in stream]
        assert engine._prefixes.cells == 0


async def test_requests_that_need_the_room_take_it_at_once() -> None:
    # 256 bytes a token: room for one request of 128 + 100 tokens, and for one block beside it.
    cells = 128 + 100 + BLOCK
    async with running(kv_bytes=cells * 256, prefix_share=1.0) as engine:
        for first in range(3, 6):
            asked = request(first, *SYSTEM, tokens=100 - 1 - len(SYSTEM))
            assert await answered(engine, asked) == expected(make_model("llama"), asked)
            assert engine._prefixes.cells <= BLOCK
        assert engine._prefixes.cells == BLOCK
        other = request(*range(60, 100), tokens=100)  # 256 + 140 would be too much, so it is refused
        with pytest.raises(BerthError, match=str(cells)):
            engine.submit(other)


@pytest.mark.parametrize("when", ["while a prompt is read", "while it decodes", "while a prompt is kept"])
async def test_where_memory_runs_out_the_beginnings_go_before_any_request(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(*range(70, 90), *SYSTEM, tokens=8)
    async with running() as engine:
        await answered(engine, request(*SYSTEM, 7))
        failed = False

        def short(width: int) -> None:
            nonlocal failed
            if not failed and (width == 1) is (when == "while it decodes"):
                failed = True
                raise MemoryError

        def copy(*_: Any) -> Any:
            nonlocal failed
            failed = True
            raise MemoryError

        if when == "while a prompt is kept":
            monkeypatch.setattr(Staging, "copy", copy)
        else:
            engine._model.register_forward_pre_hook(lambda _, args: short(args[0].shape[1]))
        assert await answered(engine, asked) == expected(make_model("llama"), asked)
        assert failed
        assert len(engine._prefixes._index.find(Regime.SHORT, SYSTEM)) == 0


async def test_a_seed_means_the_same_with_what_is_known_and_without() -> None:
    sampling = SamplingParams(do_sample=True, temperature=1.3)
    asked = request(*SYSTEM, 7, tokens=20, n=3, sampling=sampling, seed=5)
    async with running() as engine:
        first = await answered(engine, asked)
        assert await answered(engine, replace(asked)) == first == expected(make_model("llama"), asked)
        assert engine.occupancy.prefix_hits == len(SYSTEM)
