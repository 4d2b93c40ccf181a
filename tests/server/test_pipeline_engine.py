"""The engine's interface: events in order, cancellation, a queue, a drain, and no request hurting another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from berth_inference.engine import (
    Event,
    Finished,
    FinishReason,
    GenerationRequest,
    SamplingParams,
    SequenceFinished,
    TokenEvent,
)
from berth_inference.engine.pipeline import PipelineEngine
from berth_inference.errors import BerthError, ErrorKind
from berth_inference.loading import load_engine
from berth_inference.progress import LoadProgress
from berth_inference.settings import Settings

PROMPT = tuple(range(10, 20))


@pytest.fixture
def engine(model_folder: Path) -> Iterator[PipelineEngine]:
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(model_folder, dtype="float32")
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    pipeline = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    engine = PipelineEngine(pipeline, names=("random",), max_queued=2)
    yield engine
    engine.close()


def _request(tokens: int = 20, **changes: Any) -> GenerationRequest:
    return GenerationRequest(
        **{"prompt": PROMPT, "max_new_tokens": tokens, "min_new_tokens": tokens, "pad_token_id": 0, **changes}
    )


async def _events(engine: PipelineEngine, request: GenerationRequest) -> list[Event]:
    return [event async for event in engine.submit(request)]


async def _first_token(stream: Any) -> None:
    async for event in stream:
        assert isinstance(event, TokenEvent)
        return


async def test_tokens_come_one_by_one_and_then_the_end(engine: PipelineEngine) -> None:
    events = await _events(engine, _request(4))
    tokens = [event.token_ids for event in events if isinstance(event, TokenEvent)]
    assert [len(ids) for ids in tokens] == [1, 1, 1, 1]
    assert events[4:] == [SequenceFinished(0, FinishReason.LENGTH), Finished(10, 4)]


async def test_a_row_that_ends_early_says_so_at_once(engine: PipelineEngine) -> None:
    sampling = SamplingParams(do_sample=True, top_k=50)
    request = _request(
        60, n=4, sampling=sampling, seed=1, min_new_tokens=0, stop_token_ids=tuple(range(0, 400, 9))
    )
    ended: set[int] = set()
    lengths = dict.fromkeys(range(4), 0)
    async for event in engine.submit(request):
        if isinstance(event, TokenEvent):
            assert event.sequence not in ended
            lengths[event.sequence] += 1
        elif isinstance(event, SequenceFinished):
            assert event.reason is FinishReason.STOP
            ended.add(event.sequence)
        else:
            assert event == Finished(10, sum(lengths.values()))
    assert ended == {0, 1, 2, 3}
    assert len(set(lengths.values())) > 1


async def test_beams_come_whole_and_best_first(engine: PipelineEngine) -> None:
    events = await _events(engine, _request(6, n=2, sampling=SamplingParams(num_beams=3)))
    assert [type(event) for event in events] == [
        TokenEvent,
        SequenceFinished,
        TokenEvent,
        SequenceFinished,
        Finished,
    ]
    assert events[-1] == Finished(10, 12)


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(),
        SamplingParams(num_beams=4),
        SamplingParams(num_beams=4, num_beam_groups=2, diversity_penalty=1.0),
    ],
    ids=["greedy", "beam search", "groups of beams"],
)
async def test_cancelling_ends_a_running_generation_within_a_step(
    engine: PipelineEngine, sampling: SamplingParams
) -> None:
    stream = engine.submit(_request(240, sampling=sampling))
    if sampling.num_beams == 1:
        await _first_token(stream)
    stream.cancel()
    events = [event async for event in stream]
    assert SequenceFinished(0, FinishReason.CANCELLED) in events
    assert isinstance(events[-1], Finished)
    assert events[-1].output_tokens < 240


async def test_cancelling_a_request_that_waits_ends_it_without_running(engine: PipelineEngine) -> None:
    running, waiting = engine.submit(_request(200)), engine.submit(_request(200))
    waiting.cancel()
    running.cancel()
    assert [event async for event in waiting] == [
        SequenceFinished(0, FinishReason.CANCELLED),
        Finished(10, 0),
    ]


async def test_requests_are_served_in_the_order_in_which_they_came(engine: PipelineEngine) -> None:
    order: list[int] = []

    async def serve(number: int) -> None:
        stream = engine.submit(_request(5))
        async for event in stream:
            if isinstance(event, Finished):
                order.append(number)

    await asyncio.gather(*(serve(number) for number in range(3)))
    assert order == [0, 1, 2]


async def test_a_full_queue_refuses_and_recovers(engine: PipelineEngine) -> None:
    streams = [engine.submit(_request(240)) for _ in range(3)]
    with pytest.raises(BerthError) as raised:
        engine.submit(_request())
    assert raised.value.kind is ErrorKind.OVERLOADED
    assert raised.value.retry_after is not None
    for stream in streams:
        stream.cancel()
    for stream in streams:
        _ = [event async for event in stream]
    assert (await _events(engine, _request(1)))[-1] == Finished(10, 1)


async def test_drain_waits_for_what_was_admitted_and_admits_nothing_more(engine: PipelineEngine) -> None:
    streams = [engine.submit(_request(30)) for _ in range(2)]
    await engine.drain(30)
    for stream in streams:
        assert [event async for event in stream][-1] == Finished(10, 30)
    with pytest.raises(BerthError) as raised:
        engine.submit(_request())
    assert raised.value.kind is ErrorKind.UNAVAILABLE


async def test_what_a_drain_has_no_time_for_ends_with_an_error(engine: PipelineEngine) -> None:
    streams = [engine.submit(_request(240)) for _ in range(2)]
    await engine.drain(0)
    for stream in streams:
        with pytest.raises(BerthError) as raised:
            _ = [event async for event in stream]
        assert raised.value.kind is ErrorKind.UNAVAILABLE


async def test_a_generation_that_fails_ends_alone(
    engine: PipelineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret path /opt/weights")

    with monkeypatch.context() as patched:
        patched.setattr(engine._model, "generate", fail)
        with pytest.raises(BerthError) as raised:
            await _events(engine, _request())
    assert raised.value.kind is ErrorKind.INTERNAL
    assert "secret" not in raised.value.message
    assert (await _events(engine, _request(2)))[-1] == Finished(10, 2)


async def test_running_out_of_memory_is_told_and_survived(
    engine: PipelineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(engine._model, "generate", fail)
        with pytest.raises(BerthError) as raised:
            await _events(engine, _request())
    assert raised.value.kind is ErrorKind.UNAVAILABLE
    assert "fewer beams" in raised.value.message
    assert (await _events(engine, _request(2)))[-1] == Finished(10, 2)


async def test_no_request_changes_the_models_configuration(engine: PipelineEngine) -> None:
    before = (engine._model.generation_config.to_dict(), engine._model.config.to_dict())
    sampling = SamplingParams(do_sample=True, temperature=2.0, top_p=0.3, num_beams=2, repetition_penalty=2.0)
    await _events(engine, _request(3, sampling=sampling, stop_token_ids=(7,)))
    assert (engine._model.generation_config.to_dict(), engine._model.config.to_dict()) == before


def test_what_the_publisher_set_is_told_as_defaults(tmp_path: Path) -> None:
    from server.random_model import save_model

    published = {"do_sample": True, "temperature": 0.6, "max_length": 99, "repetition_penalty": 1.1}
    folder = save_model(tmp_path, published=published)
    engine = load_engine(Settings(model=str(folder), served_model_name=("a", "b")), LoadProgress())
    engine.close()
    assert {name: engine.info.defaults[name] for name in published} == published
    assert engine.info.stop_token_ids == (0, 3)
    assert (engine.info.names, engine.info.context_length) == (("a", "b"), 256)
    assert (engine.info.dtype, engine.info.device) == ("float32", "cpu")
