"""Bodies of POST /tokenize and POST /detokenize, as vLLM has them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from berth_inference.schemas.chat_completions import ChatCompletionMessage
from berth_inference.schemas.values import Flag, Text, TokenId


class TokenizeRequest(BaseModel):
    """A text, or a conversation through the model's chat template."""

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={"examples": [{"prompt": "What is a pod?"}]},
    )

    model: Text | None = Field(None, max_length=512, description="A name of the served model.")
    prompt: Text | None = Field(None, description="Text to turn into tokens.")
    messages: Annotated[list[ChatCompletionMessage], Field(min_length=1)] | None = Field(
        None, description="A conversation instead of a prompt, as the model would be sent it."
    )
    return_token_strs: Flag | None = Field(None, description="Return each token's text too.")


class TokenizeResponse(BaseModel):
    """Token ids, and how many the model's context holds."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeRequest(BaseModel):
    """Token ids to turn into text."""

    model_config = ConfigDict(
        extra="forbid", protected_namespaces=(), json_schema_extra={"examples": [{"tokens": [10, 11]}]}
    )

    model: Text | None = Field(None, max_length=512, description="A name of the served model.")
    tokens: Annotated[list[TokenId], Field(max_length=2**20)] = Field(description="Token ids.")


class DetokenizeResponse(BaseModel):
    """The text."""

    prompt: str
