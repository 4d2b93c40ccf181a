"""Diverse beam search finds what the algorithm says, to the token, whatever the arguments and the model."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from berth_inference.engine import GenerationRequest, SamplingParams, TokenEvent
from berth_inference.engine.group_beams import search_in_groups
from berth_inference.engine.observer import Cancelled, StepObserver, StopStrings
from berth_inference.engine.pipeline import PipelineEngine
from berth_inference.engine.stream import EventStream
from server.engine_requests import answered, expected
from server.group_beam_reference import group_beam_search, random_group_request
from server.model_zoo import ARCHITECTURES, END, make_model, make_pipeline, pin
from server.running_engine import running

pytestmark = pytest.mark.thorough

REQUESTS_PER_MODEL = 12
RECORDED = json.loads((Path(__file__).parent / "group_beams_recorded.json").read_text())

REQUEST = GenerationRequest(
    prompt=tuple(range(10, 30)),
    max_new_tokens=12,
    n=6,
    sampling=SamplingParams(num_beams=6, num_beam_groups=3, diversity_penalty=1.5),
    stop_token_ids=(END, *range(90, 128)),  # the groups end after 2, 8 and 11 tokens
    pad_token_id=0,
)


def _changed(request: GenerationRequest = REQUEST, **changes: Any) -> GenerationRequest:
    """With arguments of the sampling among the changes."""
    names = SamplingParams.__dataclass_fields__
    sampling = {name: changes.pop(name) for name in list(changes) if name in names}
    return replace(request, sampling=replace(request.sampling, **sampling), **changes)


@pytest.fixture(scope="module")
def engine() -> Iterator[PipelineEngine]:
    engine = PipelineEngine(make_pipeline("llama"), names=("zoo",), max_queued=10)
    yield engine
    engine.close()


async def _search(engine: PipelineEngine, request: GenerationRequest) -> list[list[int]]:
    """The bare search, also where the engine would leave it to `generate`."""
    stream = EventStream(asyncio.get_running_loop())
    observer = StepObserver(request, stream, StopStrings(engine.codec, request.stop), streaming=False)
    with torch.inference_mode():
        return search_in_groups(engine._model, request, observer)


TABLE: dict[str, GenerationRequest] = {
    "a penalty": REQUEST,
    "hardly a penalty": _changed(diversity_penalty=0.01),
    "a penalty that forbids": _changed(diversity_penalty=100.0),
    "groups of one": _changed(num_beams=3, n=3),
    "two groups of three": _changed(num_beam_groups=2),
    "nothing that ends": _changed(stop_token_ids=()),
    "one token": _changed(max_new_tokens=1),
    "a prompt of one token": _changed(prompt=(17,)),
    "only the best": _changed(n=1),
    "ends as soon as there are enough": _changed(early_stopping=True),
    "ends when nothing better can come": _changed(early_stopping="never"),
    "long texts": _changed(length_penalty=3.0, early_stopping="never"),
    "short texts": _changed(length_penalty=-2.0),
    "sums, whatever the length": _changed(length_penalty=0.0),
    "at least eight tokens": _changed(min_new_tokens=8),
    "padding that is an end": _changed(pad_token_id=108),
    "padding that is a word": _changed(pad_token_id=57),
    # The penalty on repetition multiplies, so it matters that it comes after the one between groups.
    "repetition and bad words": _changed(repetition_penalty=1.4, bad_words_ids=((7,), (9,))),
}


@pytest.mark.parametrize("request_", TABLE.values(), ids=TABLE.keys())
async def test_it_finds_what_the_plain_algorithm_finds(
    engine: PipelineEngine, request_: GenerationRequest
) -> None:
    assert await answered(engine, request_) == group_beam_search(engine._model, request_)


# With dynamic RoPE, keys keep the frequencies of the length at which they were read; a text read anew does not.
@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "llama-dynamic-rope"])
async def test_random_requests_equal_the_plain_algorithm(architecture: str) -> None:
    source = random.Random(architecture)
    requests = [random_group_request(source) for _ in range(REQUESTS_PER_MODEL)]
    async with running(architecture, kv_bytes=64 * 2**20) as engine:
        got = [await answered(engine, request) for request in requests]
    plain = [group_beam_search(make_model(architecture), request) for request in requests]
    wrong = [index for index in range(len(requests)) if got[index] != plain[index]]
    assert not wrong, [(requests[index], got[index], plain[index]) for index in wrong]


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: case["name"])
async def test_it_finds_what_transformers_4_found(case: dict[str, Any]) -> None:
    pipeline = make_pipeline(case["model"])
    pin(pipeline.model)
    engine = PipelineEngine(pipeline, names=("zoo",), max_queued=10)
    sampling = dict(case["sampling"])
    for name in sampling.keys() & {"bad_words_ids", "forced_eos_token_id"}:
        sampling[name] = tuple(tuple(item) if isinstance(item, list) else item for item in sampling[name])
    request = GenerationRequest(
        prompt=tuple(case["prompt"]),
        stop_token_ids=tuple(case["stop_token_ids"]),
        sampling=SamplingParams(**sampling),
        **{name: case[name] for name in ("max_new_tokens", "min_new_tokens", "n", "pad_token_id")},
    )
    try:
        got = await answered(engine, request)
    finally:
        engine.close()
    # transformers 4 wrote the first of the tokens that end a sequence, whichever it was that had ended it.
    first = request.stop_token_ids[:1]
    ends = set(request.stop_token_ids)
    assert [[*row[:-1], *first] if row[-1] in ends else row for row in got] == case["tokens"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n": 4, "length_penalty": 0.0},
        {"early_stopping": True},
        {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
        {"stop_token_ids": (), "n": 4},
        {"stop_token_ids": (END,), "stop": ("w8", "w9"), "max_new_tokens": 30},
    ],
    ids=["plain", "four results", "early", "penalties", "nothing that ends", "stop strings"],
)
async def test_one_group_is_the_beam_search_of_generate(
    engine: PipelineEngine, changes: dict[str, Any]
) -> None:
    request = _changed(num_beams=4, num_beam_groups=1, diversity_penalty=0.0, **{"n": 1, **changes})
    assert await _search(engine, request) == await _generated(engine, request)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
async def test_what_a_model_remembers_follows_its_beams_as_in_generate(architecture: str) -> None:
    request = _changed(
        prompt=tuple(range(10, 50)),
        max_new_tokens=30,
        num_beams=4,
        num_beam_groups=1,
        diversity_penalty=0.0,
        n=4,
        stop_token_ids=(),
    )
    engine = PipelineEngine(make_pipeline(architecture), names=("zoo",), max_queued=10)
    try:
        assert await _search(engine, request) == expected(make_model(architecture), request)
    finally:
        engine.close()


async def _generated(engine: PipelineEngine, request: GenerationRequest) -> list[list[int]]:
    events = [event async for event in engine.submit(request)]
    return [list(event.token_ids) for event in events if isinstance(event, TokenEvent)]


async def test_without_a_penalty_every_group_finds_what_beam_search_finds(engine: PipelineEngine) -> None:
    alone = await _search(engine, _changed(num_beams=2, num_beam_groups=1, diversity_penalty=0.0, n=2))
    together = await _search(engine, _changed(diversity_penalty=0.0))
    assert together == [alone[0]] * 3 + [alone[1]] * 3


async def test_a_penalty_that_forbids_makes_the_groups_differ_at_every_position(
    engine: PipelineEngine,
) -> None:
    rows = await answered(
        engine, _changed(num_beams=4, num_beam_groups=4, n=4, diversity_penalty=100.0, stop_token_ids=())
    )
    for tokens in zip(*rows, strict=True):
        assert len(set(tokens)) == 4


async def test_a_stop_string_ends_a_text_and_the_search_goes_on_with_others(engine: PipelineEngine) -> None:
    plain = await answered(engine, _changed(stop_token_ids=()))
    word = plain[0][5]
    stopped = await _search(engine, _changed(stop_token_ids=(), stop=(f"w{word}",)))
    assert any(row[-1] == word for row in stopped)
    assert all(word not in row[:-1] for row in stopped)


async def test_stop_strings_that_end_every_text_leave_nothing_to_go_on_with(engine: PipelineEngine) -> None:
    rows = await _search(engine, _changed(stop_token_ids=(), stop=("w",)))
    assert [len(row) for row in rows] == [1] * 6


async def test_time_ends_the_search_with_what_there_is(engine: PipelineEngine) -> None:
    rows = await answered(engine, _changed(max_seconds=1e-6, stop_token_ids=()))
    assert [len(row) for row in rows] == [1] * 6


async def test_cancelling_ends_the_search_within_a_step(engine: PipelineEngine) -> None:
    stream = EventStream(asyncio.get_running_loop())
    observer = StepObserver(REQUEST, stream, StopStrings(engine.codec, ()), streaming=False)
    lengths: list[int] = []

    def observe(texts: torch.Tensor, scores: Any) -> torch.Tensor:
        lengths.append(texts.shape[1] - len(REQUEST.prompt))
        if lengths[-1] == 3:
            stream.cancel()
        return observer(texts, scores)

    with torch.inference_mode(), pytest.raises(Cancelled):
        search_in_groups(engine._model, REQUEST, observe)  # type: ignore[arg-type]
    assert max(lengths) == 3
