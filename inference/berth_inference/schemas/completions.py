"""Bodies of POST /v1/completions."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from berth_inference.schemas.openai import OpenAIRequest
from berth_inference.schemas.values import FewLikeliest, Flag, Positive, refused

Prompt = str | tuple[int, ...]
"""Text, or token ids."""


def _prompts(value: Any) -> tuple[Prompt, ...]:
    """A text, a list of token ids, or a list of either."""
    if isinstance(value, str) or _are_tokens(value):
        value = [value]
    if not isinstance(value, list):
        raise PydanticCustomError("prompt_type", "must be a text, a list of token ids, or a list of either")
    if not value:
        raise PydanticCustomError("too_short", "must not be empty")
    for item in value:
        if not isinstance(item, str) and not _are_tokens(item):
            raise PydanticCustomError(
                "prompt_type", "must be a text, a list of token ids, or a list of either"
            )
    return tuple(item if isinstance(item, str) else tuple(item) for item in value)


def _are_tokens(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**31 for item in value)
    )


_TEXT_OR_TOKENS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
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
    max_tokens: Positive | None = Field(None, description="Most tokens of an answer. Not given: 16.")
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
