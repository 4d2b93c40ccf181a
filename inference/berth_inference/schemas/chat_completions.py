"""Bodies of POST /v1/chat/completions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from berth_inference.schemas.openai import Finish, OpenAIRequest, Usage
from berth_inference.schemas.values import Flag, Integer, Text, refused

_CHOICE = "the model itself decides whether to call a tool; only 'auto' and 'none' are served"


def _text_of_parts(value: Any) -> Any:
    """Content may come as a list of parts, of which only text means something to a language model."""
    if not isinstance(value, list):
        return value
    texts = []
    for part in value:
        if not isinstance(part, dict) or part.get("type") not in ("text", "input_text"):
            kind = part.get("type") if isinstance(part, dict) else None
            raise PydanticCustomError(
                "refused", "has a part of type {kind}: this model reads text only", {"kind": repr(kind)[:40]}
            )
        if not isinstance(part.get("text"), str):
            raise PydanticCustomError("string_type", "has a text part without a text")
        texts.append(part["text"])
    return "".join(texts)


FunctionName = Annotated[Text, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class CalledFunction(BaseModel):
    """The function of a call, with its arguments as the text of a JSON object."""

    model_config = ConfigDict(extra="forbid")

    name: FunctionName
    arguments: Text


class MessageToolCall(BaseModel):
    """A call that the assistant made."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[Text, Field(min_length=1, max_length=128)]
    type: Literal["function"]
    function: CalledFunction


class ChatCompletionMessage(BaseModel):
    """One turn of a conversation. Only an assistant's that calls tools may have no content."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[Text | None, BeforeValidator(_text_of_parts)] = None
    tool_calls: list[MessageToolCall] | None = None
    tool_call_id: Annotated[Text, Field(min_length=1, max_length=128)] | None = None
    name: refused("chat templates have no place for it; put it into the content") = None  # type: ignore[valid-type]
    refusal: refused("the model is never sent one") = None  # type: ignore[valid-type]
    audio: refused("this model reads text only") = None  # type: ignore[valid-type]
    function_call: refused("use tool_calls") = None  # type: ignore[valid-type]


class FunctionDefinition(BaseModel):
    """A function that the model may call. `parameters` is the JSON Schema of its arguments."""

    model_config = ConfigDict(extra="forbid")

    name: FunctionName
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: refused("calls are not held to their schema; check their arguments", False) = None  # type: ignore[valid-type]


class Tool(BaseModel):
    """A tool that the model may call."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["function"]
    function: FunctionDefinition


class JsonSchemaFormat(BaseModel):
    """A schema for the answer."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: Text | None = None
    description: Text | None = None
    json_schema: Annotated[dict[str, Any], Field(alias="schema")]
    strict: Flag | None = None


class ResponseFormat(BaseModel):
    """The form of the answer."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None


class ChatCompletionRequest(OpenAIRequest):
    """A conversation to be answered."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"messages": [{"role": "user", "content": "What is Kubernetes?"}], "max_tokens": 40}]
        }
    )

    messages: Annotated[list[ChatCompletionMessage], Field(min_length=1)] = Field(
        description="The conversation; the model's chat template is applied. One that ends with an assistant's "
        "turn is continued within it."
    )
    max_completion_tokens: Annotated[Integer, Field(ge=1)] | None = Field(
        None, description="Most tokens of an answer; not given: as many as the context and the server allow."
    )
    max_tokens: Annotated[Integer, Field(ge=1)] | None = Field(
        None, description="The older name of max_completion_tokens."
    )
    logprobs: Flag | None = Field(None, description="Return each token's log-probability.")
    top_logprobs: Annotated[Integer, Field(ge=0, le=20)] | None = Field(
        None, description="With logprobs: also those of this many likeliest tokens at each position."
    )
    response_format: ResponseFormat | None = Field(
        None, description="The form that the answer is held to: text, any JSON object, or JSON by a schema."
    )
    tools: Annotated[list[Tool], Field(max_length=128)] | None = Field(
        None,
        description="What the model may call, for models whose chat template knows tools. An answer is then streamed "
        "in one piece, because only its end tells whether it is a call.",
    )
    tool_choice: refused(_CHOICE, "none", "auto") = None  # type: ignore[valid-type]
    parallel_tool_calls: refused("the model itself decides how many tools to call", True) = None  # type: ignore[valid-type]
    functions: refused("use tools", []) = None  # type: ignore[valid-type]
    function_call: refused("use tools", "none", "auto") = None  # type: ignore[valid-type]
    modalities: refused("this model answers with text", ["text"]) = None  # type: ignore[valid-type]
    audio: refused("this model answers with text") = None  # type: ignore[valid-type]
    prediction: refused("answers are not predicted from a draft") = None  # type: ignore[valid-type]
    reasoning_effort: refused("this model has no such setting; ask for it in the prompt") = None  # type: ignore[valid-type]
    verbosity: refused("this model has no such setting; ask for it in the prompt") = None  # type: ignore[valid-type]
    web_search_options: refused("the model has no access to the web") = None  # type: ignore[valid-type]


class TopLogprob(BaseModel):
    """One of the likeliest tokens. `bytes` is null for a token that is part of a character."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """A token of the answer."""

    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(BaseModel):
    """Log-probabilities of an answer's tokens, natural logarithms, before penalties and temperature."""

    content: list[TokenLogprob]


class AnswerMessage(BaseModel):
    """The assistant's turn."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: list[MessageToolCall] | None = Field(None, description="Only where the model calls tools.")


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None = None
    finish_reason: Finish


class ChatCompletion(BaseModel):
    """The answer, or the answers."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
