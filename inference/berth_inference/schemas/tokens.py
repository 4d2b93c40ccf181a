"""Bodies of POST /tokenize and POST /detokenize, as vLLM has them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from berth_inference.schemas.chat_completions import ChatCompletionMessage
from berth_inference.schemas.values import Flag, Natural, Text


class TokenizeRequest(BaseModel):
    """A text, or a conversation through the model's chat template."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: Text | None = Field(
        None, max_length=512, description="A name of the served model. Not given: the served one."
    )
    prompt: Text | None = Field(None, description="Text to turn into tokens. Not given: messages are needed.")
    messages: Annotated[list[ChatCompletionMessage], Field(min_length=1)] | None = Field(
        None,
        description="A conversation instead of a prompt, as the model would be sent it. Not given: prompt is needed.",
    )
    return_token_strs: Flag | None = Field(
        None, description="Return each token's text too. Not given: false."
    )


class TokenizeResponse(BaseModel):
    """Token ids, and how many the model's context holds."""

    count: int = Field(description="How many tokens there are.")
    max_model_len: int = Field(description="How many the model's context holds.")
    tokens: list[int] = Field(description="Token ids.")
    token_strs: list[str] | None = Field(None, description="With return_token_strs: their texts.")


class DetokenizeRequest(BaseModel):
    """Token ids to turn into text."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: Text | None = Field(
        None, max_length=512, description="A name of the served model. Not given: the served one."
    )
    tokens: Annotated[list[Natural], Field(max_length=2**20)] = Field(
        description="Token ids; special ones are left out of the text."
    )


class DetokenizeResponse(BaseModel):
    """The text."""

    prompt: str = Field(description="The tokens' text.")
