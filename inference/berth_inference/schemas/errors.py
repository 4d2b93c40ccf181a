"""Errors as answers."""

from __future__ import annotations

from pydantic import BaseModel, Field

_CODE = "What kind of error it is, for programs."
_PARAM = "The argument at fault, if it is one: generate_kwargs.top_p."


class ErrorAnswer(BaseModel):
    """An error of /chat, /v1/generate and every route that is not OpenAI's."""

    detail: str = Field(description="What was wrong and what to do, for people.")
    code: str = Field(description=_CODE)
    param: str | None = Field(description=_PARAM)


class OpenAIError(BaseModel):
    """What OpenAI's clients read of an error."""

    message: str = Field(description="What was wrong and what to do, for people.")
    type: str = Field(description="invalid_request_error, rate_limit_error or server_error.")
    param: str | None = Field(description=_PARAM)
    code: str = Field(description=_CODE)


class OpenAIErrorAnswer(BaseModel):
    """An error of the OpenAI routes."""

    error: OpenAIError = Field(description="The error.")
