"""POST /v1/generate and GET /v1/models/info."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Annotated

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from berth_inference.dialects.generate import Source, best, outputs, source, to_request
from berth_inference.dialects.models import served_name
from berth_inference.engine import Codec, Engine, EventStream, Finished, GenerationRequest, TokenEvent
from berth_inference.engine.admission import Limits
from berth_inference.errors import BerthError
from berth_inference.http_errors import content
from berth_inference.routes.dependencies import ServiceDependency
from berth_inference.routes.examples import GENERATE
from berth_inference.routes.reading import Gathering, GeneratedSequence, begun, collect, events
from berth_inference.routes.responses import REFUSALS, as_json, only, streamed
from berth_inference.routes.threads import long_answer, long_body, off_loop
from berth_inference.schemas.generate import (
    GenerateRequest,
    GenerateResponse,
    ModelsInfo,
    TokenCounts,
)
from berth_inference.text.sequence_text import SequenceText, text_of

router = APIRouter(tags=["generate"])

_PATH = "/v1/generate"
_STREAM = "application/octet-stream"
_MOCK = "This is a mock response: the model was not run."


@router.post(_PATH, response_model=GenerateResponse, responses=REFUSALS | streamed(_STREAM))
async def generate(
    body: Annotated[GenerateRequest, Body(openapi_examples=GENERATE)],
    request: Request,
    service: ServiceDependency,
) -> Response:
    """Continue a prompt, or answer a conversation.

    With `stream`, JSON objects `{"text": [...]}` with all text so far, each followed by a NUL byte. Where the best
    of several are returned, and with beams, there is one such object, at the end.
    """
    engine = service.engine
    served_name(body.model, engine.info)
    generation = await off_loop(await long_body(request), _translate, body, engine, service.limits)
    n, _ = outputs(body)
    if body.mock_response:
        return _mock(body, generation, engine.codec, n)
    stream = engine.submit(generation)
    if body.stream:
        chunks = await begun(_chunks(body, generation, stream, engine.codec), request)
        return StreamingResponse(chunks, media_type=_STREAM)
    [sequences] = await collect([stream], request)
    answer = await off_loop(long_answer(sequences), _answer, generation, sequences, engine.codec, n)
    return JSONResponse(answer.model_dump())


@router.get("/v1/models/info", response_model=ModelsInfo, responses=only(REFUSALS, 401, 503))
async def models_info(service: ServiceDependency) -> ModelsInfo:
    """The longest context, in tokens, of each name of the served model."""
    info = service.engine.info
    return ModelsInfo(maximum_context_length=dict.fromkeys(info.names, info.context_length))


def _translate(body: GenerateRequest, engine: Engine, limits: Limits) -> GenerationRequest:
    """Tokenises, which takes long for long prompts."""
    asked = source(body, engine.info)
    return to_request(body, _tokens(asked, engine.codec), asked.param, engine.info, limits)


def _tokens(asked: Source, codec: Codec) -> list[int]:
    return codec.encode_chat(asked.turns) if asked.text is None else codec.encode(asked.text)


def _answer(
    generation: GenerationRequest, sequences: Sequence[GeneratedSequence], codec: Codec, n: int
) -> GenerateResponse:
    returned = _returned(sequences, n)
    counts = TokenCounts(
        input=len(generation.prompt), output=sum(len(sequence.token_ids) for sequence in returned)
    )
    return GenerateResponse.of([text_of(codec, sequence.token_ids) for sequence in returned], counts)


def _returned(sequences: Sequence[GeneratedSequence], n: int) -> list[GeneratedSequence]:
    """The n likeliest of the sequences. Beams come in that order already."""
    if len(sequences) <= n:
        return list(sequences)
    return [sequences[index] for index in best([sum(one.logprobs) for one in sequences], n)]


async def _chunks(
    body: GenerateRequest, generation: GenerationRequest, stream: EventStream, codec: Codec
) -> AsyncGenerator[bytes]:
    n, made = outputs(body)
    live = made == n and generation.sampling.num_beams == 1
    gathering = Gathering()
    texts = [SequenceText(codec) for _ in range(generation.n)]
    reading = events([stream])
    try:
        async for _, event in reading:
            gathering.add(event)
            if live and isinstance(event, TokenEvent) and texts[event.sequence].add(event.token_ids):
                yield _chunk([text.text for text in texts])
            if isinstance(event, Finished):
                # Also when nothing is new: the last one holds all of it, and there is at least one.
                yield _chunk(_answer(generation, gathering.sequences, codec, n).text)
    except BerthError as error:
        if not gathering.sequences:
            raise
        yield as_json(content(error, _PATH)) + b"\0"
    finally:
        await reading.aclose()


def _chunk(texts: list[str]) -> bytes:
    return as_json({"text": texts}) + b"\0"


def _mock(body: GenerateRequest, generation: GenerationRequest, codec: Codec, n: int) -> Response:
    """An answer in form. What is wrong with the request has been told by now."""
    length = len(codec.encode(_MOCK))
    texts = [_MOCK] * n
    if body.stream:
        return Response(_chunk(texts), media_type=_STREAM)
    counts = TokenCounts(input=len(generation.prompt), output=length * n)
    return JSONResponse(GenerateResponse.of(texts, counts).model_dump())
