"""POST /v1/chat/completions."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response

from berth_inference.dialects.models import served_name
from berth_inference.dialects.openai import chat_request, tools, turns
from berth_inference.dialects.openai_answers import FINISH, Logprobs, message, tool_calls, usage
from berth_inference.engine import (
    Engine,
    EventStream,
    Finished,
    GenerationRequest,
    SequenceFinished,
    TokenEvent,
)
from berth_inference.engine.admission import Limits
from berth_inference.engine.tool_calls import ToolCall, parse_tool_calls
from berth_inference.errors import BerthError
from berth_inference.http_errors import content
from berth_inference.routes.dependencies import ServiceDependency
from berth_inference.routes.examples import CHAT_COMPLETIONS
from berth_inference.routes.reading import GeneratedSequence, begun, collect, events
from berth_inference.routes.responses import (
    EVENT_STREAM,
    LAST_EVENT,
    OPENAI_REFUSALS,
    event_stream,
    server_event,
    streamed,
)
from berth_inference.routes.threads import long_answer, long_body, off_loop
from berth_inference.schemas.chat_completions import ChatCompletionRequest
from berth_inference.schemas.openai_answers import ChatCompletion
from berth_inference.text.sequence_text import SequenceText, text_of

router = APIRouter(tags=["OpenAI"])

_PATH = "/v1/chat/completions"


@router.post(_PATH, response_model=ChatCompletion, responses=OPENAI_REFUSALS | streamed(EVENT_STREAM))
async def chat_completions(
    body: Annotated[ChatCompletionRequest, Body(openapi_examples=CHAT_COMPLETIONS)],
    request: Request,
    service: ServiceDependency,
) -> Response:
    """Answer a conversation. With `stream`, as server-sent events in chunks, the last of them `[DONE]`."""
    engine = service.engine
    head = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk" if body.stream else "chat.completion",
        "created": int(time.time()),
        "model": served_name(body.model, engine.info),
    }
    # A grammar takes long however short it is.
    long = body.response_format is not None or await long_body(request)
    generation = await off_loop(long, _translate, body, engine, service.limits)
    answers = _Answers(head, generation, engine, [tool["function"]["name"] for tool in tools(body)])
    stream = engine.submit(generation)
    if body.stream:
        with_usage = bool(body.stream_options and body.stream_options.include_usage)
        return event_stream(await begun(answers.chunks(stream, with_usage=with_usage), request))
    [sequences] = await collect([stream], request)
    return JSONResponse(await off_loop(long_answer(sequences), answers.whole, sequences))


def _translate(body: ChatCompletionRequest, engine: Engine, limits: Limits) -> GenerationRequest:
    """Tokenises, which takes long for long conversations."""
    prompt = engine.codec.encode_chat(turns(body.messages), tools(body))
    generation = chat_request(body, prompt, engine.info, limits)
    if generation.grammar is not None:
        engine.prepare(generation.grammar)
    return generation


class _Answers:
    """Renders what came of a request. `offered` names the tools that the model may call."""

    def __init__(
        self, head: dict[str, Any], generation: GenerationRequest, engine: Engine, offered: Sequence[str]
    ) -> None:
        self._head = head
        self._generation = generation
        self._codec = engine.codec
        self._form = engine.info.tool_format if offered else None
        self._offered = offered

    def whole(self, sequences: list[GeneratedSequence]) -> dict[str, Any]:
        """The answer in one piece."""
        choices = []
        for index, sequence in enumerate(sequences):
            text = text_of(self._codec, sequence.token_ids, self._generation.stop)
            said, calls = self._calls(text)
            choices.append(
                {
                    "index": index,
                    "message": message(said, calls),
                    "logprobs": self._logprobs(self._scores(), sequence),
                    "finish_reason": "tool_calls" if calls else FINISH[sequence.reason],
                }
            )
        counts = usage(len(self._generation.prompt), sum(len(sequence.token_ids) for sequence in sequences))
        return {**self._head, "choices": choices, "usage": counts}

    async def chunks(self, stream: EventStream, *, with_usage: bool) -> AsyncGenerator[bytes]:
        """The answer in pieces."""
        count = self._generation.n
        texts = [SequenceText(self._codec, self._generation.stop) for _ in range(count)]
        scores = [self._scores() for _ in range(count)]
        head = {**self._head, "usage": None} if with_usage else self._head

        def chunk(
            index: int, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None
        ) -> bytes:
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            return server_event({**head, "choices": [choice]})

        begun_answers = False
        reading = events([stream])
        try:
            async for _, event in reading:
                if not begun_answers:
                    begun_answers = True
                    for index in range(count):
                        yield chunk(index, {"role": "assistant", "content": ""})
                match event:
                    case TokenEvent():
                        piece = texts[event.sequence].add(event.token_ids)
                        if self._form is not None:
                            piece = ""  # only the end tells whether it is a call
                        logprobs = self._logprobs(scores[event.sequence], event)
                        if piece or logprobs:
                            yield chunk(event.sequence, {"content": piece}, logprobs=logprobs)
                    case SequenceFinished():
                        rest = texts[event.sequence].end()
                        text, calls = self._calls(rest if self._form is None else texts[event.sequence].text)
                        if text:
                            yield chunk(event.sequence, {"content": text})
                        if calls:
                            yield chunk(event.sequence, {"tool_calls": _numbered(calls)})
                        yield chunk(event.sequence, {}, "tool_calls" if calls else FINISH[event.reason])
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

    def _calls(self, text: str) -> tuple[str, tuple[ToolCall, ...]]:
        """What was said, and the tools that were called."""
        return (text, ()) if self._form is None else parse_tool_calls(text, self._form, self._offered)

    def _scores(self) -> Logprobs:
        return Logprobs(self._codec, self._generation.prompt[-1])

    def _logprobs(self, scores: Logprobs, tokens: GeneratedSequence | TokenEvent) -> dict[str, Any] | None:
        if not self._generation.logprobs:
            return None
        return {"content": scores.chat(tokens.token_ids, tokens.logprobs or (), tokens.top_logprobs or ())}


def _numbered(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """Calls in a chunk, which clients put together by their index."""
    return [{"index": index, **call} for index, call in enumerate(tool_calls(calls))]
