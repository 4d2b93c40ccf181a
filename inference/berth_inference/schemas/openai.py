"""What the two OpenAI request bodies have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from berth_inference.schemas.values import Flag, Integer, Number, Text, TokenIds, refused

MOST_STOPS = 16
"""OpenAI allows 4; nothing here costs more with some more."""

_Name = Annotated[Text, Field(max_length=512)]


def _stop(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _logit_bias(value: Any) -> tuple[tuple[int, float], ...]:
    """Keys are token ids; JSON has only text for keys."""
    if not isinstance(value, dict):
        raise PydanticCustomError("dict_type", "must be an object of token ids and numbers")
    if len(value) > 1024:
        raise PydanticCustomError("too_long", "must have at most 1024 entries")
    pairs = []
    for key, bias in value.items():
        if not (isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) < 10):
            raise PydanticCustomError("value_error", "must have token ids for keys, such as 50256")
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not -100 <= bias <= 100:
            raise PydanticCustomError("value_error", "must have numbers from -100 to 100 for values")
        pairs.append((int(key), float(bias)))
    return tuple(pairs)


class StreamOptions(BaseModel):
    """What a stream holds besides the text."""

    model_config = ConfigDict(extra="forbid")

    include_usage: Flag | None = Field(None, description="A last chunk with the token counts.")
    include_obfuscation: refused("streams are not padded", False) = None  # type: ignore[valid-type]


class OpenAIRequest(BaseModel):
    """Arguments of both `/v1/chat/completions` and `/v1/completions`. null means "not given".

    Sampling arguments that are not given are the publisher's, from generation_config.json, and OpenAI's
    own default where the publisher says nothing.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: _Name | None = Field(
        None, description="A name of the served model, as /v1/models lists them; not given: the served one."
    )
    temperature: Annotated[Number, Field(ge=0, le=100)] | None = Field(
        None, description="Scale of randomness; 0 takes the likeliest token at each step."
    )
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="Draw from the fewest tokens whose probabilities add up to this."
    )
    n: Annotated[Integer, Field(ge=1)] | None = Field(None, description="How many answers.")
    stop: (
        Annotated[
            tuple[Annotated[Text, Field(min_length=1, max_length=200)], ...],
            BeforeValidator(_stop),
            Field(max_length=MOST_STOPS),
        ]
        | None
    ) = Field(None, description="Text, or texts, before which an answer ends.")
    seed: Annotated[Integer, Field(ge=-(2**63), lt=2**63)] | None = Field(
        None, description="The same seed gives the same answer, whatever else the server is doing."
    )
    stream: Flag | None = Field(None, description="Send the answer as server-sent events while it is made.")
    stream_options: StreamOptions | None = Field(None, description="Only with stream.")
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = Field(
        None, description="Taken off the score of each token that the answer holds already."
    )
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = Field(
        None, description="Taken off a token's score for each time that the answer holds it already."
    )
    logit_bias: (
        Annotated[
            tuple[tuple[int, float], ...],
            PlainValidator(_logit_bias),
            WithJsonSchema({"type": "object", "additionalProperties": {"type": "number"}}),
        ]
        | None
    ) = Field(None, description="Added to the scores of tokens, by token id; -100 to 100.")
    top_k: Annotated[Integer, Field(ge=-1)] | None = Field(
        None, description="As in vLLM: draw from the k likeliest tokens; 0 and -1 are all of them."
    )
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="As in vLLM: draw from tokens at least this probable, relative to the likeliest."
    )
    repetition_penalty: Annotated[Number, Field(ge=0.01, le=100)] | None = Field(
        None, description="As in vLLM: above 1, tokens that occurred already become less likely."
    )
    min_tokens: Annotated[Integer, Field(ge=0)] | None = Field(
        None, description="As in vLLM: fewest tokens of an answer."
    )
    stop_token_ids: Annotated[TokenIds, Field(max_length=256)] | None = Field(
        None, description="As in vLLM: further tokens that end an answer."
    )
    ignore_eos: Flag | None = Field(
        None, description="As in vLLM: go on when the model would end, up to the limit."
    )
    user: _Name | None = Field(None, description="Says who asks; it changes nothing.")
    metadata: dict[str, Any] | None = Field(None, description="The caller's own; it changes nothing.")
    safety_identifier: _Name | None = Field(None, description="Says who asks; it changes nothing.")
    prompt_cache_key: _Name | None = Field(
        None, description="A hint for caches of prompts; it changes no answer."
    )
    store: refused("answers are not kept", False) = None  # type: ignore[valid-type]
    service_tier: Literal["auto", "default"] | None = Field(
        None, description="There is one tier, which both names mean."
    )


class Usage(BaseModel):
    """Counts in tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


Finish = Literal["stop", "length", "tool_calls"]
