"""Bodies of POST /v1/generate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from berth_inference.schemas.values import (
    EarlyStopping,
    Flag,
    NaturalOrOff,
    Number,
    Positive,
    Seed,
    Text,
)

DEFAULT_MAX_TOKENS = 256
"""What the API's own sample request and its client send."""


class GenerateMessage(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"] = Field(
        description="Who speaks. An assistant's turn at the end is continued."
    )
    content: Text = Field(description="What is said, with {name} for input_variables.")


class GenerateRequest(BaseModel):
    """A prompt or a conversation to be continued. null means "not given"."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: Text | None = Field(
        None,
        max_length=512,
        description="A name of the served model, as /v1/models/info lists them. Not given: the served one.",
    )
    prompt: Text | None = Field(
        None,
        description="Text to continue, sent to the model as it is. Not given: messages or input_variables are needed.",
    )
    formatted_prompt: Text | None = Field(None, description="Another name of prompt. Not given: as prompt.")
    messages: Annotated[list[GenerateMessage], Field(min_length=1)] | None = Field(
        None,
        description="A conversation instead of a prompt; the model's chat template is applied. Not given: as prompt.",
    )
    input_variables: dict[str, Text] | None = Field(
        None,
        description="Values for {name} in prompt or in the messages. With neither, its `prompt` is asked as a user "
        "and its `system` instructs the model. Not given: none.",
    )
    max_tokens: Positive | None = Field(
        None,
        description=f"Most tokens of an output. Not given: {DEFAULT_MAX_TOKENS}, or what the context holds.",
    )
    n: Positive | None = Field(None, description="How many outputs. Not given: 1.")
    best_of: Positive | None = Field(
        None,
        description="Make this many outputs, at least n, and return the n likeliest by the sum of their "
        "log-probabilities; with use_beam_search, the number of beams. Not given: n.",
    )
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = Field(
        None, description="Taken off the score of each token that the output holds already. Not given: 0."
    )
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = Field(
        None,
        description="Taken off a token's score for each time that the output holds it already. Not given: 0.",
    )
    repetition_penalty: Annotated[Number, Field(ge=0.01, le=100)] | None = Field(
        None,
        description="Above 1, tokens of the prompt and of the output so far become less likely. Not given: 1.",
    )
    temperature: Annotated[Number, Field(ge=0, le=100)] | None = Field(
        None, description="Scale of randomness; 0 takes the likeliest token at each step. Not given: 1."
    )
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None,
        description="Draw from the fewest tokens whose probabilities add up to this. Not given: 1, all.",
    )
    top_k: NaturalOrOff | None = Field(
        None, description="Draw from the k likeliest tokens; -1 and 0 are all of them. Not given: -1."
    )
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None,
        description="Draw from tokens at least this probable, relative to the likeliest. Not given: 0, all.",
    )
    use_beam_search: Flag | None = Field(
        None,
        description="Search with best_of beams, at least 2, instead of drawing; needs temperature 0 and top_p 1. "
        "Not given: false.",
    )
    length_penalty: Annotated[Number, Field(ge=-10, le=10)] | None = Field(
        None,
        description="With use_beam_search only: longer texts are preferred above 0, shorter ones below. Not given: 1.",
    )
    early_stopping: EarlyStopping = Field(
        None,
        description="With use_beam_search only, when it ends: true, as soon as there are best_of complete texts; "
        'false, when better ones are unlikely; "never", when there can be none. Not given: false.',
    )
    seed: Seed | None = Field(
        None, description="Makes sampling repeatable. Not given: another output each time."
    )
    stream: Flag | None = Field(
        None,
        description='Send {"text": [...]} with the text so far, each followed by a NUL byte. Not given: false.',
    )
    mock_response: Flag | None = Field(
        None, description="Answer in form, without running the model, to try a client out. Not given: false."
    )


class TokenCounts(BaseModel):
    """Counts in tokens; the output is that of all texts returned."""

    input: int = Field(description="Tokens of the prompt.")
    output: int = Field(description="Tokens of all texts together.")


class Generated(BaseModel):
    """Texts and their cost."""

    text: list[str] = Field(description="The outputs, without the prompt.")
    token_counts: TokenCounts = Field(description="What was read and written.")


class GenerateResponse(Generated):
    """The answer, twice: some clients read it under `response`, others at the top."""

    response: Generated = Field(description="The same once more.")

    @classmethod
    def of(cls, text: list[str], counts: TokenCounts) -> GenerateResponse:
        """The answer of these texts."""
        return cls(text=text, token_counts=counts, response=Generated(text=text, token_counts=counts))


class ModelsInfo(BaseModel):
    """What /v1/models/info tells, by model name."""

    maximum_context_length: dict[str, int] = Field(
        description="How many tokens prompt and output may have together, for each name of the served model."
    )
