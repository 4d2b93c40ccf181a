"""What the two OpenAI request bodies have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from berth_inference.schemas.values import (
    LISTED,
    Flag,
    Natural,
    NaturalOrOff,
    Number,
    Positive,
    SignedSeed,
    Text,
    refused,
)

MOST_STOPS = 16
"""OpenAI allows 4; nothing here costs more with some more."""

_Name = Annotated[Text, Field(max_length=512)]
_StopText = Annotated[Text, Field(min_length=1, max_length=200)]
_StopTokenIds = Annotated[tuple[Natural, ...], Field(max_length=256), LISTED]
_Stop = _StopText | Annotated[tuple[_StopText, ...], Field(max_length=MOST_STOPS)]


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

    include_usage: Flag | None = Field(
        None, description="A last chunk with the token counts. Not given: false."
    )
    include_obfuscation: refused("streams are not padded", False) = None  # type: ignore[valid-type]


class OpenAIRequest(BaseModel):
    """Arguments of both `/v1/chat/completions` and `/v1/completions`. null means "not given".

    Sampling arguments that are not given are the publisher's, from generation_config.json, and OpenAI's
    own default where the publisher says nothing.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: _Name | None = Field(
        None, description="A name of the served model, as /v1/models lists them. Not given: the served one."
    )
    temperature: Annotated[Number, Field(ge=0, le=100)] | None = Field(
        None,
        description="Scale of randomness; 0 takes the likeliest token at each step. Not given: the publisher's, else "
        "1.",
    )
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None,
        description="Draw from the fewest tokens whose probabilities add up to this. Not given: the publisher's, else "
        "1.",
    )
    n: Positive | None = Field(
        None, description="How many answers; above 1 it needs a temperature above 0. Not given: 1."
    )
    stop: (
        Annotated[
            tuple[_StopText, ...],
            Field(max_length=MOST_STOPS),
            BeforeValidator(_stop, json_schema_input_type=_Stop),
        ]
        | None
    ) = Field(None, description="Text, or texts, before which an answer ends. Not given: none.")
    seed: SignedSeed | None = Field(
        None,
        description="The same seed gives the same answer, whatever else the server is doing. Not given: another "
        "answer each time.",
    )
    stream: Flag | None = Field(
        None, description="Send the answer as server-sent events while it is made. Not given: false."
    )
    stream_options: StreamOptions | None = Field(
        None, description="What a stream holds besides the text; only with stream. Not given: nothing."
    )
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = Field(
        None, description="Taken off the score of each token that the answer holds already. Not given: 0."
    )
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = Field(
        None,
        description="Taken off a token's score for each time that the answer holds it already. Not given: 0.",
    )
    logit_bias: (
        Annotated[
            tuple[tuple[int, float], ...],
            PlainValidator(_logit_bias),
            WithJsonSchema(
                {
                    "type": "object",
                    "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
                    "maxProperties": 1024,
                    "propertyNames": {"pattern": "^[0-9]{1,9}$"},
                }
            ),
        ]
        | None
    ) = Field(None, description="Added to the scores of tokens, by token id. Not given: nothing.")
    top_k: NaturalOrOff | None = Field(
        None,
        description="As in vLLM: draw from the k likeliest tokens; 0 and -1 are all of them. Not given: the "
        "publisher's, else all.",
    )
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None,
        description="As in vLLM: draw from tokens at least this probable, relative to the likeliest. Not given: the "
        "publisher's, else 0.",
    )
    repetition_penalty: Annotated[Number, Field(ge=0.01, le=100)] | None = Field(
        None,
        description="As in vLLM: above 1, tokens of the prompt and of the answer so far become less likely. Not given: "
        "the publisher's, else 1.",
    )
    min_tokens: Natural | None = Field(
        None, description="As in vLLM: fewest tokens of an answer. Not given: 0."
    )
    stop_token_ids: _StopTokenIds | None = Field(
        None, description="As in vLLM: further tokens that end an answer. Not given: none."
    )
    ignore_eos: Flag | None = Field(
        None, description="As in vLLM: go on when the model would end, up to the limit. Not given: false."
    )
    user: _Name | None = Field(None, description="Says who asks; it changes nothing. Not given: nobody.")
    metadata: dict[str, Any] | None = Field(
        None, description="The caller's own; it changes nothing. Not given: none."
    )
    safety_identifier: _Name | None = Field(
        None, description="Says who asks; it changes nothing. Not given: nobody."
    )
    prompt_cache_key: _Name | None = Field(
        None, description="A hint for caches of prompts; it changes no answer. Not given: none."
    )
    store: refused("answers are not kept", False) = None  # type: ignore[valid-type]
    service_tier: Literal["auto", "default"] | None = Field(
        None, description="There is one tier, which both names mean. Not given: that one."
    )
