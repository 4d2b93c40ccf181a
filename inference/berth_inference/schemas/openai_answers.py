"""Answers of the OpenAI routes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from berth_inference.schemas.chat_completions import MessageToolCall


class Usage(BaseModel):
    """Counts in tokens."""

    prompt_tokens: int = Field(description="Tokens that were read: of the prompt, or of all prompts.")
    completion_tokens: int = Field(description="Tokens that were generated, in all answers.")
    total_tokens: int = Field(description="Both together.")


Finish = Literal["stop", "length", "tool_calls"]
_FINISH = "stop: the answer came to its end or to a stop; length: it was cut there"


class TopLogprob(BaseModel):
    """One of the likeliest tokens."""

    token: str = Field(description="The token's text; U+FFFD for a part of a character.")
    logprob: float = Field(description="Natural logarithm of its probability.")
    bytes: list[int] | None = Field(description="The text in UTF-8; null for a part of a character.")


class TokenLogprob(TopLogprob):
    """A token of the answer."""

    top_logprobs: list[TopLogprob] = Field(description="The likeliest tokens at its position.")


class ChoiceLogprobs(BaseModel):
    """Log-probabilities of an answer's tokens, before penalties and temperature."""

    content: list[TokenLogprob] = Field(description="An entry for each token.")


class AnswerMessage(BaseModel):
    """The assistant's turn."""

    role: Literal["assistant"] = Field("assistant", description="Who speaks.")
    content: str | None = Field(description="The answer; null where the model only calls tools.")
    refusal: None = Field(None, description="Always null: nothing judges answers.")
    tool_calls: list[MessageToolCall] | None = Field(None, description="Only where the model calls tools.")


class ChatChoice(BaseModel):
    """One answer."""

    index: int = Field(description="Its position, from 0.")
    message: AnswerMessage = Field(description="What the assistant answers.")
    logprobs: ChoiceLogprobs | None = Field(None, description="With logprobs true.")
    finish_reason: Finish = Field(description=f"{_FINISH}; tool_calls: the model calls tools.")


class ChatCompletion(BaseModel):
    """The answer, or the answers."""

    id: str = Field(description="A name of this answer.")
    object: Literal["chat.completion"] = Field("chat.completion", description="The kind of answer.")
    created: int = Field(description="When, in seconds since 1970.")
    model: str = Field(description="The model's name, as the request gave it.")
    choices: list[ChatChoice] = Field(description="The answers.")
    usage: Usage = Field(description="What was read and written.")


class CompletionLogprobs(BaseModel):
    """Parallel lists, an entry for each token."""

    tokens: list[str] = Field(description="The tokens' texts.")
    token_logprobs: list[float] = Field(description="Natural logarithms of their probabilities.")
    top_logprobs: list[dict[str, float]] | None = Field(
        description="The likeliest tokens at each position, with their log-probabilities; null with logprobs 0."
    )
    text_offset: list[int] = Field(description="Where each token begins in the text, in characters.")


class CompletionChoice(BaseModel):
    """One answer."""

    index: int = Field(description="Its position, from 0: all answers to the first prompt, then the next's.")
    text: str = Field(description="The generated text, behind the prompt with echo.")
    logprobs: CompletionLogprobs | None = Field(None, description="With logprobs.")
    finish_reason: Finish = Field(description=f"{_FINISH}.")


class Completion(BaseModel):
    """The answers."""

    id: str = Field(description="A name of this answer.")
    object: Literal["text_completion"] = Field("text_completion", description="The kind of answer.")
    created: int = Field(description="When, in seconds since 1970.")
    model: str = Field(description="The model's name, as the request gave it.")
    choices: list[CompletionChoice] = Field(description="The answers.")
    usage: Usage = Field(description="What was read and written.")


class AdapterCard(BaseModel):
    """A LoRA adapter that is merged into the served model."""

    name: str = Field(description="Its name.")
    strength: float = Field(description="How much of it was added, from 0 to 1.")


class ModelCard(BaseModel):
    """One name of the served model."""

    id: str = Field(description="The name.")
    object: Literal["model"] = Field("model", description="The kind of answer.")
    created: int = Field(description="When the model was ready, in seconds since 1970.")
    owned_by: Literal["berth"] = Field("berth", description="Who serves it.")
    root: str = Field(description="The model's first name.")
    max_model_len: int = Field(description="How many tokens its context holds.")
    adapters: list[AdapterCard] = Field(description="The LoRA adapters in it, which every answer comes from.")


class ModelList(BaseModel):
    """Every name of the served model."""

    object: Literal["list"] = Field("list", description="The kind of answer.")
    data: list[ModelCard] = Field(description="The names.")
