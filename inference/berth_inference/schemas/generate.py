"""Bodies of POST /v1/generate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from berth_inference.schemas.values import EarlyStopping, Flag, Integer, Number, Text

DEFAULT_MAX_TOKENS = 256
"""What the API's own sample request and its client send."""


class GenerateMessage(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: Text


class GenerateRequest(BaseModel):
    """A prompt or a conversation to be continued. null means "not given"."""

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={
            "examples": [{"messages": [{"role": "user", "content": "What is Kubernetes?"}], "max_tokens": 40}]
        },
    )

    model: Text | None = Field(
        None,
        max_length=512,
        description="A name of the served model, as /v1/models/info lists them; not given: the served one.",
    )
    prompt: Text | None = Field(None, description="Text to continue, sent to the model as it is.")
    formatted_prompt: Text | None = Field(None, description="Another name of prompt.")
    messages: Annotated[list[GenerateMessage], Field(min_length=1)] | None = Field(
        None, description="A conversation instead of a prompt; the model's chat template is applied."
    )
    input_variables: dict[str, Text] | None = Field(
        None,
        description="Values for {name} in prompt or in the messages. With neither, its `prompt` is asked as a user "
        "and its `system` instructs the model.",
    )
    max_tokens: Annotated[Integer, Field(ge=1)] | None = Field(
        None,
        description=f"Most tokens of an output; not given: {DEFAULT_MAX_TOKENS}, or what the context holds.",
    )
    n: Annotated[Integer, Field(ge=1)] | None = Field(None, description="How many outputs; not given: 1.")
    best_of: Annotated[Integer, Field(ge=1)] | None = Field(
        None,
        description="Make this many outputs, at least n, and return the n likeliest by the sum of their "
        "log-probabilities; with use_beam_search, the number of beams. Not given: n.",
    )
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = Field(
        None, description="Taken off the score of each token that the output holds already; not given: 0."
    )
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = Field(
        None,
        description="Taken off a token's score for each time that the output holds it already; not given: 0.",
    )
    repetition_penalty: Annotated[Number, Field(ge=0.01, le=100)] | None = Field(
        None, description="Above 1, tokens that occurred already become less likely; not given: 1."
    )
    temperature: Annotated[Number, Field(ge=0, le=100)] | None = Field(
        None, description="Scale of randomness; 0 takes the likeliest token at each step. Not given: 1."
    )
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None,
        description="Draw from the fewest tokens whose probabilities add up to this; not given: 1, all.",
    )
    top_k: Annotated[Integer, Field(ge=-1)] | None = Field(
        None, description="Draw from the k likeliest tokens; -1 and 0 are all of them. Not given: -1."
    )
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None,
        description="Draw from tokens at least this probable, relative to the likeliest; not given: 0, all.",
    )
    use_beam_search: Flag | None = Field(
        None, description="Search with best_of beams, at least 2, instead of drawing; needs temperature 0."
    )
    length_penalty: Annotated[Number, Field(ge=-10, le=10)] | None = Field(
        None,
        description="Beam search prefers longer texts above 0 and shorter ones below; not given: 1. Only with it.",
    )
    early_stopping: EarlyStopping = Field(
        None, description="Beam search ends as soon as there are best_of complete texts. Only with it."
    )
    seed: Annotated[Integer, Field(ge=0, lt=2**63)] | None = Field(
        None, description="Makes sampling repeatable. An addition of this server."
    )
    stream: Flag | None = Field(
        None, description='Send {"text": [...]} with the text so far, each followed by a NUL byte.'
    )
    mock_response: Flag | None = Field(
        None, description="Answer in form, without running the model, to try a client out."
    )


class TokenCounts(BaseModel):
    """Counts in tokens; the output is that of all texts returned."""

    input: int
    output: int


class Generated(BaseModel):
    """Texts and their cost."""

    text: list[str]
    token_counts: TokenCounts


class GenerateResponse(Generated):
    """The answer, twice: some clients read it under `response`, others at the top."""

    response: Generated

    @classmethod
    def of(cls, text: list[str], counts: TokenCounts) -> GenerateResponse:
        """The answer of these texts."""
        return cls(text=text, token_counts=counts, response=Generated(text=text, token_counts=counts))


class ModelsInfo(BaseModel):
    """What /v1/models/info tells, by model name."""

    maximum_context_length: dict[str, int]
