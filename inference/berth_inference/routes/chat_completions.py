"""POST /v1/chat/completions."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from berth_inference.dialects.models import served_name
from berth_inference.dialects.openai import chat_request, turns
from berth_inference.dialects.openai_answers import FINISH, Logprobs, usage
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
from berth_inference.routes.reading import GeneratedSequence, begun, collect, events
from berth_inference.routes.responses import LAST_EVENT, REFUSALS, event_stream, server_event
from berth_inference.schemas.chat_completions import ChatCompletion, ChatCompletionRequest
from berth_inference.text.sequence_text import SequenceText, text_of

router = APIRouter(tags=["OpenAI"])

_PATH = "/v1/chat/completions"


@router.post(_PATH, response_model=ChatCompletion, responses=REFUSALS)
async def chat_completions(
    body: ChatCompletionRequest, request: Request, service: ServiceDependency
) -> Response:
    """Answer a conversation. With `stream`, as server-sent events in chunks, the last of them `[DONE]`."""
    engine = service.engine
    head = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk" if body.stream else "chat.completion",
        "created": int(time.time()),
        "model": served_name(body.model, engine.info),
    }
    generation = await asyncio.to_thread(_translate, body, engine, service.limits)
    stream = engine.submit(generation)
    if body.stream:
        with_usage = bool(body.stream_options and body.stream_options.include_usage)
        chunks = _chunks(head, generation, stream, engine.codec, with_usage=with_usage)
        return event_stream(await begun(chunks, request))
    [sequences] = await collect([stream], request)
    choices = await asyncio.to_thread(_choices, generation, sequences, engine.codec)
    counts = usage(len(generation.prompt), sum(len(sequence.token_ids) for sequence in sequences))
    return JSONResponse({**head, "choices": choices, "usage": counts})


def _translate(body: ChatCompletionRequest, engine: Engine, limits: Limits) -> GenerationRequest:
    """Tokenises, which takes long for long conversations, so it is called in a thread."""
    return chat_request(body, engine.codec.encode_chat(turns(body.messages)), engine.info, limits)


def _choices(
    generation: GenerationRequest, sequences: list[GeneratedSequence], codec: Codec
) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "message": {
                "role": "assistant",
                "content": text_of(codec, sequence.token_ids, generation.stop),
                "refusal": None,
            },
            "logprobs": _logprobs(Logprobs(codec, generation.prompt[-1]), generation, sequence),
            "finish_reason": FINISH[sequence.reason],
        }
        for index, sequence in enumerate(sequences)
    ]


def _logprobs(
    rendered: Logprobs, generation: GenerationRequest, tokens: GeneratedSequence | TokenEvent
) -> dict[str, Any] | None:
    if not generation.logprobs:
        return None
    return {"content": rendered.chat(tokens.token_ids, tokens.logprobs or (), tokens.top_logprobs or ())}


async def _chunks(
    head: dict[str, Any],
    generation: GenerationRequest,
    stream: EventStream,
    codec: Codec,
    *,
    with_usage: bool,
) -> AsyncGenerator[bytes]:
    texts = [SequenceText(codec, generation.stop) for _ in range(generation.n)]
    rendered = [Logprobs(codec, generation.prompt[-1]) for _ in range(generation.n)]
    head = {**head, "usage": None} if with_usage else head

    def chunk(index: int, delta: dict[str, str], finish: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return server_event({**head, "choices": [choice]})

    begun_answers = False
    reading = events([stream])
    try:
        async for _, event in reading:
            if not begun_answers:
                begun_answers = True
                for index in range(generation.n):
                    yield chunk(index, {"role": "assistant", "content": ""})
            match event:
                case TokenEvent():
                    piece = texts[event.sequence].add(event.token_ids)
                    logprobs = _logprobs(rendered[event.sequence], generation, event)
                    if piece or logprobs:
                        yield chunk(event.sequence, {"content": piece}, logprobs=logprobs)
                case SequenceFinished():
                    if piece := texts[event.sequence].end():
                        yield chunk(event.sequence, {"content": piece})
                    yield chunk(event.sequence, {}, FINISH[event.reason])
                case Finished():
                    if with_usage:
                        counts = usage(event.prompt_tokens, event.output_tokens)
                        yield server_event({**head, "choices": [], "usage": counts})
    except BerthError as error:
        if not begun_answers:
            raise
        yield server_event(content(error, _PATH))
    finally:
        await reading.aclose()
    yield LAST_EVENT
