"""POST /chat."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response

from berth_inference.dialects.chat import check_source, to_request
from berth_inference.engine import ChatMessage, Codec, Engine, EventStream, GenerationRequest, TokenEvent
from berth_inference.engine.admission import Limits
from berth_inference.errors import MEANINGS, BerthError, ErrorKind
from berth_inference.http_errors import content
from berth_inference.routes.dependencies import ServiceDependency
from berth_inference.routes.examples import CHAT
from berth_inference.routes.reading import Gathering, GeneratedSequence, begun, collect, events
from berth_inference.routes.responses import (
    EVENT_STREAM,
    LAST_EVENT,
    REFUSALS,
    Responses,
    event_stream,
    server_event,
    streamed,
)
from berth_inference.routes.threads import long_answer, long_body, off_loop
from berth_inference.schemas.chat import ChatRequest, Message
from berth_inference.schemas.chat_answers import ChatResponse, Details, SequenceDetails
from berth_inference.schemas.errors import ErrorAnswer
from berth_inference.text.sequence_text import SequenceText

router = APIRouter(tags=["chat"])

_PATH = "/chat"
_RESPONSES: Responses = {
    **streamed(EVENT_STREAM),
    **REFUSALS,
    422: {"description": MEANINGS[ErrorKind.MALFORMED], "model": ErrorAnswer},
}


@router.post(_PATH, response_model=ChatResponse, responses=_RESPONSES)
async def chat(
    body: Annotated[ChatRequest, Body(openapi_examples=CHAT)], request: Request, service: ServiceDependency
) -> Response:
    """Continue a prompt, or answer a conversation.

    With `stream`, server-sent events: `{"delta": "..."}` for each new piece of text, with the `sequence` that it
    belongs to where there are several; then the whole answer as without `stream`; then `[DONE]`.
    """
    check_source(body)
    engine = service.engine
    generation = await off_loop(await long_body(request), _translate, body, engine, service.limits)
    stream = engine.submit(generation)
    if body.stream:
        return event_stream(await begun(_chunks(body, generation, stream, engine.codec), request))
    [sequences] = await collect([stream], request)
    answer = await off_loop(long_answer(sequences), _answer, body, generation, sequences, engine.codec)
    return JSONResponse(answer.content())


def _translate(body: ChatRequest, engine: Engine, limits: Limits) -> GenerationRequest:
    """Tokenises, which takes long for long prompts."""
    prefix_tokens = 0
    if body.messages:
        turns: list[ChatMessage] = [{"role": turn.role, "content": turn.content} for turn in body.messages]
        prompt = engine.codec.encode_chat(turns)
    else:
        text = body.prompt or ""
        prompt = engine.codec.encode((body.prefix or "") + text)
        if body.prefix:
            prefix_tokens = len(prompt) - len(engine.codec.encode(text))
    return to_request(body, prompt, prefix_tokens, engine.info, limits)


async def _chunks(
    body: ChatRequest, generation: GenerationRequest, stream: EventStream, codec: Codec
) -> AsyncGenerator[bytes]:
    gathering = Gathering()
    texts = [SequenceText(codec) for _ in range(generation.n)]

    def delta(sequence: int, text: str) -> bytes:
        which = {"sequence": sequence} if generation.n > 1 else {}
        return server_event({**which, "delta": text})

    reading = events([stream])
    try:
        async for _, event in reading:
            gathering.add(event)
            if isinstance(event, TokenEvent) and (piece := texts[event.sequence].add(event.token_ids)):
                yield delta(event.sequence, piece)
        for index, text in enumerate(texts):
            if piece := text.end():
                yield delta(index, piece)
        yield server_event(_answer(body, generation, gathering.sequences, codec).content())
    except BerthError as error:
        if not gathering.sequences:
            raise
        yield server_event(content(error, _PATH))
    finally:
        await reading.aclose()
    yield LAST_EVENT


def _answer(
    body: ChatRequest, generation: GenerationRequest, sequences: list[GeneratedSequence], codec: Codec
) -> ChatResponse:
    clean_up = bool(body.clean_up_tokenization_spaces)
    texts = [codec.decode(sequence.token_ids, clean_up=clean_up) for sequence in sequences]
    full = [_opening(body) + text for text in texts]
    response = ChatResponse(Result="".join(full), Results=full if len(full) > 1 else None)
    if body.messages and body.return_full_text:
        answered = [
            turn for turn in body.messages if turn is not body.messages[-1] or turn.role != "assistant"
        ]
        response.messages = [*answered, Message(role="assistant", content=full[0])]
    arguments = body.generate_kwargs
    if arguments and (arguments.return_dict_in_generate or arguments.output_scores):
        response.details = _details(generation, sequences, texts)
    return response


def _opening(body: ChatRequest) -> str:
    """What of the request each text begins with."""
    if body.return_full_text is False:
        return ""
    if not body.messages:
        return body.prompt or ""
    last = body.messages[-1]
    return last.content if last.role == "assistant" else ""


def _details(generation: GenerationRequest, sequences: list[GeneratedSequence], texts: list[str]) -> Details:
    return Details(
        prompt_tokens=len(generation.prompt),
        output_tokens=sum(len(sequence.token_ids) for sequence in sequences),
        sequences=[
            SequenceDetails(
                text=text,
                token_ids=sequence.token_ids,
                finish_reason=sequence.reason.value,
                scores=sequence.logprobs if generation.logprobs else None,
            )
            for sequence, text in zip(sequences, texts, strict=True)
        ],
    )
