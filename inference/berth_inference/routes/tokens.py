"""POST /tokenize and POST /detokenize."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body

from berth_inference.dialects.models import served_name
from berth_inference.dialects.openai import turns
from berth_inference.dialects.text import check_text
from berth_inference.engine import Engine
from berth_inference.errors import invalid
from berth_inference.routes.dependencies import ServiceDependency
from berth_inference.routes.examples import DETOKENIZE, TOKENIZE
from berth_inference.routes.responses import OPENAI_REFUSALS
from berth_inference.schemas.tokens import (
    DetokenizeRequest,
    DetokenizeResponse,
    TokenizeRequest,
    TokenizeResponse,
)

router = APIRouter(tags=["tokens"])


@router.post(
    "/tokenize", response_model=TokenizeResponse, response_model_exclude_none=True, responses=OPENAI_REFUSALS
)
async def tokenize(
    body: Annotated[TokenizeRequest, Body(openapi_examples=TOKENIZE)], service: ServiceDependency
) -> TokenizeResponse:
    """The tokens of a text, or of a conversation through the chat template, as the model reads them."""
    engine = service.engine
    served_name(body.model, engine.info)
    if (body.prompt is None) == (body.messages is None):
        raise invalid(None, "Send a prompt or messages: one of them.")
    return await asyncio.to_thread(_tokenized, body, engine)


def _tokenized(body: TokenizeRequest, engine: Engine) -> TokenizeResponse:
    if body.messages is not None:
        tokens = engine.codec.encode_chat(turns(body.messages))
    else:
        check_text(body.prompt or "", "prompt")
        tokens = engine.codec.encode(body.prompt or "")
    texts = None
    if body.return_token_strs:
        texts = [
            engine.codec.token_text(token, tokens[index - 1] if index else None)
            for index, token in enumerate(tokens)
        ]
    return TokenizeResponse(
        count=len(tokens), max_model_len=engine.info.context_length, tokens=tokens, token_strs=texts
    )


@router.post("/detokenize", response_model=DetokenizeResponse, responses=OPENAI_REFUSALS)
async def detokenize(
    body: Annotated[DetokenizeRequest, Body(openapi_examples=DETOKENIZE)], service: ServiceDependency
) -> DetokenizeResponse:
    """The text of tokens, special tokens left out."""
    engine = service.engine
    served_name(body.model, engine.info)
    unknown = [token for token in body.tokens if token >= engine.info.vocabulary]
    if unknown:
        raise invalid(
            "tokens", f"holds {unknown[0]}, but this model's tokens end at {engine.info.vocabulary - 1}."
        )
    return DetokenizeResponse(prompt=await asyncio.to_thread(engine.codec.decode, body.tokens))
