"""POST /v1/completions."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response

from berth_inference.dialects.generate import best
from berth_inference.dialects.models import served_name
from berth_inference.dialects.openai import check_rows, completion_request
from berth_inference.dialects.openai_answers import FINISH, Logprobs, usage
from berth_inference.dialects.text import check_text
from berth_inference.engine import (
    Codec,
    Engine,
    EventStream,
    Finished,
    GenerationRequest,
    SequenceFinished,
    TokenEvent,
)
from berth_inference.engine.admission import Limits
from berth_inference.errors import BerthError
from berth_inference.http_errors import content
from berth_inference.routes.dependencies import ServiceDependency
from berth_inference.routes.examples import COMPLETIONS
from berth_inference.routes.reading import GeneratedSequence, begun, collect, events
from berth_inference.routes.responses import (
    EVENT_STREAM,
    LAST_EVENT,
    OPENAI_REFUSALS,
    event_stream,
    server_event,
    streamed,
)
from berth_inference.routes.submitting import submit_all
from berth_inference.routes.threads import long_answer, long_body, off_loop
from berth_inference.schemas.completions import CompletionRequest, Prompt
from berth_inference.schemas.openai_answers import Completion
from berth_inference.text.sequence_text import SequenceText, text_of

router = APIRouter(tags=["OpenAI"])

_PATH = "/v1/completions"


@dataclass(frozen=True, slots=True)
class _Job:
    """One of the prompts: its request, and what its answers' texts begin with."""

    request: GenerationRequest
    opening: str


@router.post(_PATH, response_model=Completion, responses=OPENAI_REFUSALS | streamed(EVENT_STREAM))
async def completions(
    body: Annotated[CompletionRequest, Body(openapi_examples=COMPLETIONS)],
    request: Request,
    service: ServiceDependency,
) -> Response:
    """Continue one text or several. With `stream`, as server-sent events in chunks, the last of them `[DONE]`."""
    engine = service.engine
    head = {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": served_name(body.model, engine.info),
    }
    jobs = await off_loop(await long_body(request), _translate, body, engine, service.limits)
    streams = submit_all(engine, [job.request for job in jobs])
    if body.stream:
        return event_stream(await begun(_chunks(head, body, jobs, streams, engine.codec), request))
    answers = await collect(streams, request)
    long = long_answer(chain.from_iterable(answers))
    return JSONResponse({**head, **await off_loop(long, _answer, body, jobs, answers, engine.codec)})


def _translate(body: CompletionRequest, engine: Engine, limits: Limits) -> list[_Job]:
    """Tokenises, which takes long for long prompts."""
    check_rows(body, limits)
    return [_job(body, prompt, engine, limits) for prompt in body.prompt]


def _job(body: CompletionRequest, prompt: Prompt, engine: Engine, limits: Limits) -> _Job:
    if isinstance(prompt, str):
        check_text(prompt, "prompt")
        tokens = engine.codec.encode(prompt)
    else:
        tokens = list(prompt)
    request = completion_request(body, tokens, engine.info, limits)
    opening = (prompt if isinstance(prompt, str) else engine.codec.decode(tokens)) if body.echo else ""
    return _Job(request, opening)


def _answer(
    body: CompletionRequest,
    jobs: Sequence[_Job],
    answers: Sequence[Sequence[GeneratedSequence]],
    codec: Codec,
) -> dict[str, Any]:
    choices: list[dict[str, Any]] = []
    for job, sequences in zip(jobs, answers, strict=True):
        for sequence in _returned(sequences, body.n or 1):
            logprobs = None
            if body.logprobs is not None:
                rendered = Logprobs(codec, job.request.prompt[-1])
                logprobs = rendered.completion(sequence.token_ids, sequence.logprobs, sequence.top_logprobs)
            choices.append(
                {
                    "index": len(choices),
                    "text": job.opening + text_of(codec, sequence.token_ids, job.request.stop),
                    "logprobs": logprobs,
                    "finish_reason": FINISH[sequence.reason],
                }
            )
    # Of every sequence that was made, as OpenAI counts them, those that best_of dropped too.
    made = sum(len(sequence.token_ids) for sequences in answers for sequence in sequences)
    return {"choices": choices, "usage": usage(sum(len(job.request.prompt) for job in jobs), made)}


def _returned(sequences: Sequence[GeneratedSequence], n: int) -> list[GeneratedSequence]:
    """The n that are likeliest per token, which is what OpenAI ranks by."""
    if len(sequences) <= n:
        return list(sequences)
    scores = [sum(one.logprobs) / max(1, len(one.logprobs)) for one in sequences]
    return [sequences[index] for index in best(scores, n)]


async def _chunks(
    head: dict[str, Any],
    body: CompletionRequest,
    jobs: Sequence[_Job],
    streams: Sequence[EventStream],
    codec: Codec,
) -> AsyncGenerator[bytes]:
    n = body.n or 1
    texts = [[SequenceText(codec, job.request.stop) for _ in range(n)] for job in jobs]
    rendered = [[Logprobs(codec, job.request.prompt[-1]) for _ in range(n)] for job in jobs]
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    head = {**head, "usage": None} if with_usage else head
    prompt_tokens = output_tokens = 0

    def chunk(index: int, text: str, finish: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
        return server_event({**head, "choices": [choice]})

    begun_answers = False
    reading = events(streams)
    try:
        async for prompt, event in reading:
            if not begun_answers:
                begun_answers = True
                for index in range(n * len(jobs)):
                    if opening := jobs[index // n].opening:
                        yield chunk(index, opening)
            match event:
                case TokenEvent():
                    piece = texts[prompt][event.sequence].add(event.token_ids)
                    logprobs = None
                    if body.logprobs is not None:
                        logprobs = rendered[prompt][event.sequence].completion(
                            event.token_ids, event.logprobs or (), event.top_logprobs or ()
                        )
                    if piece or logprobs:
                        yield chunk(prompt * n + event.sequence, piece, logprobs=logprobs)
                case SequenceFinished():
                    rest = texts[prompt][event.sequence].end()
                    yield chunk(prompt * n + event.sequence, rest, FINISH[event.reason])
                case Finished():
                    prompt_tokens += event.prompt_tokens
                    output_tokens += event.output_tokens
        if with_usage:
            yield server_event({**head, "choices": [], "usage": usage(prompt_tokens, output_tokens)})
    except BerthError as error:
        if not begun_answers:
            raise
        yield server_event(content(error, _PATH))
    finally:
        await reading.aclose()
    yield LAST_EVENT
