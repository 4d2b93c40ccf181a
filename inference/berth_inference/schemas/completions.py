"""Bodies of POST /v1/completions."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from berth_inference.schemas.openai import OpenAIRequest
from berth_inference.schemas.values import FewLikeliest, Flag, Positive, integral, refused

Prompt = str | tuple[int, ...]
"""Text, or token ids."""


def _prompts(value: Any) -> tuple[Prompt, ...]:
    """A text, a list of token ids, or a list of either."""
    one = _prompt(value)
    if one is not None:
        return (one,)
    if value == []:
        raise PydanticCustomError("too_short", "must not be empty")
    found = [_prompt(item) for item in value] if isinstance(value, list) else [None]
    prompts = tuple(prompt for prompt in found if prompt is not None)
    if len(prompts) < len(found):
        raise PydanticCustomError("prompt_type", "must be a text, a list of token ids, or a list of either")
    return prompts


def _prompt(value: Any) -> Prompt | None:
    if isinstance(value, str):
        return value
    tokens = tuple(map(integral, value)) if isinstance(value, list) else ()
    if tokens and all(type(token) is int and 0 <= token < 2**31 for token in tokens):
        return tokens
    return None


_TEXT_OR_TOKENS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, "minItems": 1},
]


class CompletionRequest(OpenAIRequest):
    """A text, or several, to be continued."""

    prompt: Annotated[
        tuple[Prompt, ...],
        PlainValidator(_prompts),
        WithJsonSchema(
            {
                "anyOf": [
                    *_TEXT_OR_TOKENS,
                    {"type": "array", "items": {"anyOf": _TEXT_OR_TOKENS}, "minItems": 1},
                ]
            }
        ),
    ] = Field(description="A text, a list of token ids, or a list of either, each answered by itself.")
    max_tokens: Positive | None = Field(
        None, description="Most tokens of an answer. Not given: 16, or the most that the server allows."
    )
    best_of: Positive | None = Field(
        None, description="Make this many answers and return the n likeliest; not with stream. Not given: n."
    )
    echo: Flag | None = Field(None, description="Begin each answer's text with its prompt. Not given: false.")
    logprobs: FewLikeliest | None = Field(
        None,
        description="Return each token's log-probability, and those of this many likeliest tokens at its "
        "position; not with echo. Not given: none.",
    )
    suffix: refused("the model only continues texts; it does not fill gaps", "") = None  # type: ignore[valid-type]
