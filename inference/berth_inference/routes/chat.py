"""POST /chat."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from berth_inference.dialects.chat import check_source, to_request
from berth_inference.engine import ChatMessage, Codec, Engine, GenerationRequest
from berth_inference.engine.admission import Limits
from berth_inference.routes.collect import ClientGone, GeneratedSequence, collect
from berth_inference.routes.dependencies import ServiceDependency
from berth_inference.schemas.chat import ChatRequest, ChatResponse, Details, Message, SequenceDetails
from berth_inference.service import Service

router = APIRouter(tags=["chat"])

# What proxies log for a client that went away; nobody receives it.
_CLIENT_CLOSED_REQUEST = 499

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "An argument that cannot be served, by name, and what to do"},
    413: {"description": "A body that is too large"},
    422: {"description": "A body that is no JSON, or an argument of a wrong type, by name"},
    429: {"description": "Too many requests are waiting"},
    503: {"description": "Loading, draining or out of memory"},
}


@router.post("/chat", response_model=ChatResponse, responses=_REFUSALS)
async def chat(body: ChatRequest, request: Request, service: ServiceDependency) -> Response:
    """Continue a prompt, or answer a conversation."""
    check_source(body)
    engine = service.engine
    generation = await asyncio.to_thread(_translate, body, engine, _limits(service))
    try:
        sequences = await collect(engine.submit(generation), request)
    except ClientGone:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)
    answer = await asyncio.to_thread(_answer, body, generation, sequences, engine.codec)
    return JSONResponse(answer.content())


def _limits(service: Service) -> Limits:
    settings = service.settings
    return Limits(
        max_prompt_tokens=settings.max_prompt_tokens,
        max_output_tokens=settings.max_output_tokens,
        max_beams=settings.max_beams,
        max_sequences=settings.max_sequences,
    )


def _translate(body: ChatRequest, engine: Engine, limits: Limits) -> GenerationRequest:
    """Tokenises, which takes long for long prompts, so it is called in a thread."""
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
