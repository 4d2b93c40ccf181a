"""Bodies of POST /v1/chat/completions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from berth_inference.schemas.openai import OpenAIRequest
from berth_inference.schemas.values import FewLikeliest, Flag, Positive, Text, refused

_CHOICE = "the model itself decides whether to call a tool; only 'auto' and 'none' are served"


class TextPart(BaseModel):
    """A piece of a message."""

    type: Literal["text", "input_text"] = Field(description="Both mean text.")
    text: str = Field(description="The text.")


_Content = str | list[TextPart] | None


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

    name: FunctionName = Field(description="The function's name.")
    arguments: Text = Field(description="A JSON object, as text.")


class MessageToolCall(BaseModel):
    """A call that the assistant made."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[Text, Field(min_length=1, max_length=128)] = Field(
        description="The call's name, to which its result refers."
    )
    type: Literal["function"] = Field(description="Functions are the only kind.")
    function: CalledFunction = Field(description="What is called, and with what.")


class ChatCompletionMessage(BaseModel):
    """One turn of a conversation. Only an assistant's that calls tools may have no content."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant", "tool"] = Field(
        description="Who speaks; developer means system, and tool brings the result of a call."
    )
    content: Annotated[Text | None, BeforeValidator(_text_of_parts, json_schema_input_type=_Content)] = Field(
        None,
        description="What is said: text, or a list of parts of text, which are joined. Not given: only where the "
        "assistant calls tools.",
    )
    tool_calls: list[MessageToolCall] | None = Field(
        None, description="Calls that the assistant made. Not given: none."
    )
    tool_call_id: Annotated[Text, Field(min_length=1, max_length=128)] | None = Field(
        None, description="With the role tool: the call whose result this is. Not given: for the other roles."
    )
    name: refused("chat templates have no place for it; put it into the content") = None  # type: ignore[valid-type]
    refusal: refused("the model is never sent one") = None  # type: ignore[valid-type]
    audio: refused("this model reads text only") = None  # type: ignore[valid-type]
    function_call: refused("use tool_calls") = None  # type: ignore[valid-type]


class FunctionDefinition(BaseModel):
    """A function that the model may call. `parameters` is the JSON Schema of its arguments."""

    model_config = ConfigDict(extra="forbid")

    name: FunctionName = Field(description="What the model calls it by.")
    description: Text | None = Field(
        None, description="What it does, for the model to read. Not given: none."
    )
    parameters: dict[str, Any] | None = Field(
        None, description="JSON Schema of its arguments, for the model to read. Not given: none."
    )
    strict: refused("calls are not held to their schema; check their arguments", False) = None  # type: ignore[valid-type]


class Tool(BaseModel):
    """A tool that the model may call."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["function"] = Field(description="Functions are the only kind.")
    function: FunctionDefinition = Field(description="The function on offer.")


class JsonSchemaFormat(BaseModel):
    """A schema for the answer."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: Text | None = Field(None, description="The caller's own; it changes nothing. Not given: none.")
    description: Text | None = Field(
        None, description="The caller's own; it changes nothing. Not given: none."
    )
    json_schema: dict[str, Any] = Field(
        alias="schema", description="JSON Schema that the answer is held to, token by token."
    )
    strict: Flag | None = Field(
        None, description="Both mean true: the answer is held to it. Not given: true."
    )


class ResponseFormat(BaseModel):
    """The form of the answer."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text", "json_object", "json_schema"] = Field(
        description="Any text, any JSON object, or JSON by a schema."
    )
    json_schema: JsonSchemaFormat | None = Field(
        None, description="With the type json_schema: the schema. Not given: for the other types."
    )


class ChatCompletionRequest(OpenAIRequest):
    """A conversation to be answered."""

    messages: Annotated[list[ChatCompletionMessage], Field(min_length=1)] = Field(
        description="The conversation; the model's chat template is applied. One that ends with an assistant's "
        "turn is continued within it."
    )
    max_completion_tokens: Positive | None = Field(
        None, description="Most tokens of an answer. Not given: as many as the context and the server allow."
    )
    max_tokens: Positive | None = Field(
        None, description="The older name of max_completion_tokens. Not given: as that."
    )
    logprobs: Flag | None = Field(None, description="Return each token's log-probability. Not given: false.")
    top_logprobs: FewLikeliest | None = Field(
        None,
        description="With logprobs: also those of this many likeliest tokens at each position. Not given: 0.",
    )
    response_format: ResponseFormat | None = Field(
        None, description="The form that the answer is held to. Not given: any text."
    )
    tools: Annotated[list[Tool], Field(max_length=128)] | None = Field(
        None,
        description="What the model may call, for models whose chat template knows tools. An answer is then streamed "
        "in one piece, because only its end tells whether it is a call. Not given: none.",
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
