"""The batch engine's promises: joining, leaving, cancellation, limits, and no request hurting another."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from berth_inference.engine import (
    Event,
    EventStream,
    Finished,
    FinishReason,
    GenerationRequest,
    SamplingParams,
    SequenceFinished,
    TokenEvent,
)
from berth_inference.engine.batch import intake
from berth_inference.engine.batch.choice import choice
from berth_inference.errors import BerthError, ErrorKind
from berth_inference.routes.health import livez
from berth_inference.service import Service
from berth_inference.settings import Settings
from server.engine_requests import answered, expected
from server.model_zoo import DEVICE, make_model
from server.running_engine import running

PROMPT = tuple(range(10, 20))
FAILURES: dict[str, tuple[Exception, ErrorKind]] = {
    "out of memory": (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ErrorKind.UNAVAILABLE),
    "anything else": (RuntimeError("secret path /opt/weights"), ErrorKind.INTERNAL),
}


def request(tokens: int = 20, **changes: Any) -> GenerationRequest:
    return GenerationRequest(**{"prompt": PROMPT, "max_new_tokens": tokens, "pad_token_id": 0, **changes})


class Gate:
    """Lets a model's forwards through one by one, so that tests need no sleeps."""

    def __init__(self, model: Any) -> None:
        self._permits = threading.Semaphore(0)
        self.widths: list[tuple[int, int]] = []
        model.register_forward_pre_hook(self._wait, with_kwargs=True)

    def _wait(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # `generate` names its arguments, the batch does not.
        self.widths.append(tuple((args[0] if args else kwargs["input_ids"]).shape))
        assert self._permits.acquire(timeout=60)

    def open(self, forwards: int = 10_000) -> None:
        self._permits.release(forwards)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  another thread changes it
            await asyncio.sleep(0.001)


async def events(stream: EventStream) -> list[Event]:
    return [event async for event in stream]


async def test_tokens_come_one_by_one_and_then_the_end() -> None:
    async with running() as engine:
        got = await events(engine.submit(request(4)))
    assert [type(event) for event in got] == [TokenEvent] * 4 + [SequenceFinished, Finished]
    assert got[4:] == [SequenceFinished(0, FinishReason.LENGTH), Finished(10, 4)]


async def test_a_request_joins_at_the_next_step_and_leaves_when_it_is_done() -> None:
    async with running(lookup_tokens=0) as engine:
        gate = Gate(engine._model)
        long = engine.submit(request(8))
        await until(lambda: len(gate.widths) == 1)
        gate.open(2)
        await until(lambda: len(gate.widths) == 3)
        short = engine.submit(request(3))
        gate.open()
        await asyncio.gather(events(long), events(short))
    prompts = [width for width in gate.widths if width[1] > 1]
    steps = [rows for rows, tokens in gate.widths if tokens == 1]
    assert prompts == [(1, 10), (1, 10)]
    assert steps == [1, 1, 2, 2, 1, 1, 1]


async def test_a_long_prompt_is_read_in_bounded_parts_between_the_others_tokens() -> None:
    async with running(step_tokens=16, lookup_tokens=0) as engine:
        gate = Gate(engine._model)
        first = engine.submit(request(12))
        await until(lambda: len(gate.widths) == 1)
        gate.open(2)
        second = engine.submit(request(2, prompt=tuple(range(3, 53))))
        gate.open()
        await asyncio.gather(events(first), events(second))
    parts = [index for index, (_, tokens) in enumerate(gate.widths) if tokens > 1][1:]
    assert [gate.widths[index][1] for index in parts] == [16, 16, 16, 2]
    assert all(after - before == 2 for before, after in itertools.pairwise(parts))


@pytest.mark.parametrize("tokens_before", [0, 3], ids=["while its prompt is read", "while it decodes"])
async def test_cancelling_frees_the_row_within_one_step(tokens_before: int) -> None:
    async with running(step_tokens=4) as engine:
        gate = Gate(engine._model)
        stream = engine.submit(request(100))
        forwards = 1 if tokens_before == 0 else 3 + tokens_before
        gate.open(forwards)
        await until(lambda: len(gate.widths) == forwards + 1)
        stream.cancel()
        gate.open(1)
        got = await events(stream)
        assert got[-2] == SequenceFinished(0, FinishReason.CANCELLED)
        assert len(gate.widths) == forwards + 1


async def test_cancelling_a_request_that_waits_ends_it_without_running() -> None:
    async with running(max_rows=1) as engine:
        first, waiting = engine.submit(request(20)), engine.submit(request(20))
        waiting.cancel()
        got = await events(waiting)
        assert got == [SequenceFinished(0, FinishReason.CANCELLED), Finished(10, 0)]
        assert (await events(first))[-1] == Finished(10, 20)


async def test_a_full_queue_refuses_and_recovers() -> None:
    async with running(max_rows=1, max_queued=2) as engine:
        gate = Gate(engine._model)
        streams = [engine.submit(request(5)) for _ in range(3)]
        with pytest.raises(BerthError) as raised:
            engine.submit(request())
        assert raised.value.kind is ErrorKind.OVERLOADED
        assert raised.value.retry_after is not None
        gate.open()
        for stream in streams:
            assert (await events(stream))[-1] == Finished(10, 5)
        assert (await events(engine.submit(request(1))))[-1] == Finished(10, 1)


@pytest.mark.parametrize(
    ("changes", "limits", "param"),
    [
        pytest.param(
            {"max_new_tokens": 150}, {"kv_bytes": 30_000}, "max_new_tokens", id="more tokens than memory"
        ),
        pytest.param(
            {"n": 3, "sampling": SamplingParams(do_sample=True)},
            {"max_rows": 2},
            "n",
            id="more rows than may run",
        ),
        pytest.param(
            {"max_new_tokens": 90, "sampling": SamplingParams(num_beams=4)},
            {"kv_bytes": 300 * 256},
            "max_new_tokens",
            id="more beams than memory",
        ),
    ],
)
async def test_what_can_never_fit_is_refused_at_once_with_the_numbers(
    changes: dict[str, Any], limits: dict[str, Any], param: str
) -> None:
    async with running(**limits) as engine:
        with pytest.raises(BerthError) as raised:
            engine.submit(request(**changes))
    assert (raised.value.kind, raised.value.param) == (ErrorKind.INVALID, param)
    assert any(character.isdigit() for character in raised.value.message)


async def test_a_request_past_its_deadline_ends_with_an_error_and_frees_its_row() -> None:
    async with running(deadline=0.05) as engine:
        gate = Gate(engine._model)
        stream = engine.submit(request(100))
        await asyncio.sleep(0.06)
        gate.open()
        with pytest.raises(BerthError) as raised:
            await events(stream)
    assert raised.value.kind is ErrorKind.DEADLINE


async def test_a_beam_search_past_its_deadline_ends_with_an_error_too() -> None:
    async with running(deadline=0.05) as engine:
        gate = Gate(engine._model)
        stream = engine.submit(request(100, sampling=SamplingParams(num_beams=2)))
        with pytest.raises(BerthError) as raised:
            await events(stream)
        gate.open()
    assert raised.value.kind is ErrorKind.DEADLINE


async def test_beams_heed_biases() -> None:
    biased = SamplingParams(num_beams=2, logit_bias=((50, 100.0),))
    async with running() as engine:
        assert await answered(engine, request(5, sampling=biased)) == [[50] * 5]


async def test_numbers_that_are_not_finite_end_their_row_alone() -> None:
    async with running() as engine:
        poisoned = request(12, prompt=(99, *PROMPT))

        def poison(_: Any, args: tuple[Any, ...], kwargs: Any, output: Any) -> None:
            if args[0].shape[0] == 2:
                output.logits[1] = torch.nan

        gate = Gate(engine._model)
        engine._model.register_forward_hook(poison, with_kwargs=True)
        healthy, ill = engine.submit(request(12)), engine.submit(poisoned)
        gate.open()
        with pytest.raises(BerthError) as raised:
            await events(ill)
        got = await events(healthy)
    assert raised.value.kind is ErrorKind.INTERNAL
    tokens = [token for event in got if isinstance(event, TokenEvent) for token in event.token_ids]
    assert [tokens] == expected(make_model("llama"), request(12))


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_forward_that_fails_is_told_and_survived(failure: str) -> None:
    error, kind = FAILURES[failure]
    async with running() as engine:
        failing = True

        def fail(_: Any, args: tuple[Any, ...]) -> None:
            if failing and args[0].shape[1] == 1:
                raise error

        engine._model.register_forward_pre_hook(fail)
        with pytest.raises(BerthError) as raised:
            await events(engine.submit(request()))
        failing = False
        assert await answered(engine, request(5)) == expected(make_model("llama"), request(5))
    assert raised.value.kind is kind
    assert "secret" not in raised.value.message


async def test_memory_that_runs_out_takes_the_newest_request_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as engine:
        gate = Gate(engine._model)

        def fail(_: Any, args: tuple[Any, ...]) -> None:
            if tuple(args[0].shape) == (3, 1):
                raise MemoryError

        engine._model.register_forward_pre_hook(fail)
        streams = [engine.submit(request(6, prompt=(key, *PROMPT))) for key in (30, 31, 32)]
        gate.open()
        for stream in streams[:2]:
            assert (await events(stream))[-1] == Finished(11, 6)
        with pytest.raises(BerthError) as raised:
            await events(streams[2])
    assert raised.value.kind is ErrorKind.UNAVAILABLE
    assert "--kv-memory" in caplog.text


async def test_beams_and_the_batch_take_turns() -> None:
    async with running() as engine:
        order: list[int] = []
        engine._model.register_forward_hook(lambda _, args, output: order.append(output.logits.shape[0]))
        beams = request(20, sampling=SamplingParams(num_beams=3))
        found, plain = await asyncio.gather(answered(engine, beams), answered(engine, request(20)))
        assert found == expected(make_model("llama"), beams)
        assert plain == expected(make_model("llama"), request(20))
    first_beam, last_beam = order.index(3), len(order) - order[::-1].index(3)
    assert 1 in order[first_beam:last_beam]


async def test_the_same_seed_gives_the_same_text_whatever_else_runs() -> None:
    sampling = SamplingParams(do_sample=True, temperature=1.3, top_k=20)
    seeded = request(15, n=3, sampling=sampling, seed=5)
    async with running() as engine:
        alone = await answered(engine, seeded)
        others = [request(30, sampling=sampling, prompt=(key, *PROMPT)) for key in range(40, 50)]
        crowded, *_ = await asyncio.gather(*(answered(engine, each) for each in (seeded, *others)))
    assert crowded == alone == expected(make_model("llama"), seeded)


async def test_without_a_seed_answers_differ() -> None:
    sampling = SamplingParams(do_sample=True, temperature=2.0)
    async with running() as engine:
        got = await asyncio.gather(*(answered(engine, request(15, sampling=sampling)) for _ in range(4)))
    assert len({str(tokens) for tokens in got}) == 4


@pytest.mark.parametrize(
    "sampling",
    [
        pytest.param(
            SamplingParams(do_sample=True, temperature=0.5, top_k=5, repetition_penalty=1.5), id="batched"
        ),
        pytest.param(SamplingParams(num_beams=2), id="beams"),
    ],
)
@pytest.mark.parametrize("prompt", [PROMPT, (7,), tuple(range(3, 90))], ids=["short", "one token", "long"])
async def test_logprobs_are_those_of_the_bare_model(
    sampling: SamplingParams, prompt: tuple[int, ...]
) -> None:
    asked = request(6, prompt=prompt, sampling=sampling, seed=3, logprobs=True, top_logprobs=2)
    async with running() as engine:
        got = [event for event in await events(engine.submit(asked)) if isinstance(event, TokenEvent)]
    answer = [token for event in got for token in event.token_ids]
    scores = [score for event in got for score in event.logprobs or ()]
    likeliest = [top for event in got for top in event.top_logprobs or ()]
    with torch.inference_mode():
        logits = make_model("llama")(torch.tensor([[*prompt, *answer]], device=DEVICE)).logits[0]
        logits = logits.log_softmax(-1).cpu()
    assert len(answer) == len(scores) == len(likeliest) == 6
    for position, token in enumerate(answer):
        here = logits[len(prompt) - 1 + position]
        assert scores[position] == pytest.approx(float(here[token]), abs=1e-4)
        assert [other for other, _ in likeliest[position]] == here.topk(2).indices.tolist()


@pytest.mark.parametrize(
    "sampling",
    [
        pytest.param(SamplingParams(presence_penalty=2.0), id="presence"),
        pytest.param(SamplingParams(frequency_penalty=2.0), id="frequency"),
        pytest.param(SamplingParams(logit_bias=((50, 100.0),)), id="bias"),
    ],
)
async def test_penalties_and_biases_change_each_choice_as_documented(sampling: SamplingParams) -> None:
    async with running() as engine:
        (got,) = await answered(engine, request(15, sampling=sampling))
    model = make_model("llama")
    tokens: list[int] = []
    for _ in range(15):
        with torch.no_grad():
            scores = model(torch.tensor([[*PROMPT, *tokens]], device=DEVICE)).logits[0, -1].cpu()
        for token in set(tokens):
            scores[token] -= sampling.presence_penalty + sampling.frequency_penalty * tokens.count(token)
        for token, bias in sampling.logit_bias:
            scores[token] += bias
        tokens.append(int(scores.argmax()))
    assert got == tokens


async def test_a_stop_string_ends_its_sequence_alone() -> None:
    (plain,) = expected(make_model("llama"), request(10))
    async with running() as engine:
        stopped, other = await asyncio.gather(
            events(engine.submit(request(10, stop=(f"w{plain[4]}",)))), answered(engine, request(10))
        )
    assert SequenceFinished(0, FinishReason.STOP) in stopped
    assert stopped[-1].output_tokens == plain.index(plain[4]) + 1  # type: ignore[union-attr]
    assert other == [plain]


async def test_drain_waits_for_what_was_admitted_and_admits_nothing_more() -> None:
    async with running() as engine:
        streams = [engine.submit(request(30)) for _ in range(3)]
        await engine.drain(30)
        for stream in streams:
            assert (await events(stream))[-1] == Finished(10, 30)
        with pytest.raises(BerthError) as raised:
            engine.submit(request())
    assert raised.value.kind is ErrorKind.UNAVAILABLE


async def test_what_a_drain_has_no_time_for_ends_with_an_error() -> None:
    async with running() as engine:
        gate = Gate(engine._model)
        stream = engine.submit(request(100))
        await engine.drain(0)
        gate.open()
        with pytest.raises(BerthError) as raised:
            await events(stream)
    assert raised.value.kind is ErrorKind.UNAVAILABLE


@pytest.mark.parametrize("beams", [1, 2], ids=["in the batch", "in a beam search"])
async def test_a_step_that_never_ends_fails_liveness(beams: int) -> None:
    async with running() as engine:
        # Long enough for a step to end in on a busy machine.
        service = Service(Settings(model="zoo", step_seconds=0.5), lambda *_: engine)
        service.start()
        await service.settled.wait()
        assert (await livez(service)).status_code == 200
        gate = Gate(engine._model)
        stream = engine.submit(request(2, sampling=SamplingParams(num_beams=beams)))
        await until(lambda: engine.stuck_seconds > 0.5)
        assert (await livez(service)).status_code == 503
        gate.open()
        await events(stream)
        await until(lambda: engine.stuck_seconds == 0)
        assert (await livez(service)).status_code == 200


class Raises:
    """Goes wrong in whatever role it is given."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise self._error

    end = manual_seed = __call__


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(ValueError("is no number"), ErrorKind.INVALID, id="arguments that transformers refuses"),
        pytest.param(ValueError(), ErrorKind.INVALID, id="an error without a word"),
        pytest.param(KeyError("secret"), ErrorKind.INTERNAL, id="a fault of the server's"),
        pytest.param(MemoryError(), ErrorKind.UNAVAILABLE, id="no memory"),
    ],
)
@pytest.mark.parametrize("where", ["taking it in", "changing its logits"])
async def test_whatever_a_request_makes_fail_it_fails_alone(
    where: str, error: Exception, kind: ErrorKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ill(request: GenerationRequest, *rest: Any) -> Any:
        found = choice(request, *rest)
        if len(request.prompt) == len(PROMPT):
            return found
        if where == "taking it in":
            raise error
        return replace(found, processors=[Raises(error)])

    monkeypatch.setattr(intake, "choice", ill)
    async with running() as engine:
        healthy = asyncio.create_task(answered(engine, request(12)))
        with pytest.raises(BerthError) as raised:
            await events(engine.submit(request(12, prompt=(99, *PROMPT))))
        assert await healthy == expected(make_model("llama"), request(12))
    assert raised.value.kind is kind
    assert "secret" not in raised.value.message


async def test_a_text_that_cannot_be_decoded_ends_its_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as engine:
        monkeypatch.setattr(type(engine.codec), "decode", Raises(KeyError("w0")))
        healthy = asyncio.create_task(answered(engine, request(12)))
        with pytest.raises(BerthError) as raised:
            await events(engine.submit(request(12, stop=("w5",))))
        assert await healthy == expected(make_model("llama"), request(12))
    assert raised.value.kind is ErrorKind.INTERNAL


async def test_beam_searches_that_nobody_waits_for_leave_the_queue_to_others() -> None:
    beams = SamplingParams(num_beams=2)
    async with running(max_queued=2) as engine:
        gate = Gate(engine._model)
        first, *left = [engine.submit(request(5, sampling=beams)) for _ in range(3)]
        with pytest.raises(BerthError) as raised:
            engine.submit(request(5, sampling=beams))
        assert raised.value.kind is ErrorKind.OVERLOADED
        for stream in left:
            stream.cancel()
        others = [engine.submit(request(5, sampling=beams)) for _ in range(2)]
        for stream in left:
            assert (await events(stream))[-1] == Finished(10, 0)
        gate.open()
        for stream in (first, *others):
            assert (await events(stream))[-1] == Finished(10, 5)


async def test_cancelling_ends_the_scoring_of_beams_within_one_step() -> None:
    async with running() as engine:
        gate = Gate(engine._model)
        asked = request(3, prompt=tuple(range(3, 90)), sampling=SamplingParams(num_beams=2), logprobs=True)
        stream = engine.submit(asked)
        gate.open(3)
        await until(lambda: len(gate.widths) == 4)  # the first block of the first beam is being scored
        stream.cancel()
        gate.open(1)
        assert (await events(stream))[-2:] == [SequenceFinished(0, FinishReason.CANCELLED), Finished(87, 0)]
        assert len(gate.widths) == 4


@pytest.mark.parametrize("beams", [1, 2], ids=["in the batch", "in a beam search"])
async def test_closing_ends_every_stream(beams: int) -> None:
    async with running() as engine:
        gate = Gate(engine._model)
        sampling = SamplingParams(num_beams=beams)
        streams = [engine.submit(request(100, sampling=sampling)) for _ in range(3)]
        await until(lambda: len(gate.widths) == 1)
        closing = asyncio.create_task(asyncio.to_thread(engine.close))
        await until(lambda: all(stream.cancelled for stream in streams))
        gate.open()
        ends = await asyncio.gather(*(events(stream) for stream in streams), return_exceptions=True)
        await closing
        for end in ends:
            if isinstance(end, BaseException):
                assert isinstance(end, BerthError)
                assert end.kind is ErrorKind.UNAVAILABLE
            else:
                assert end[-2] == SequenceFinished(0, FinishReason.CANCELLED)
