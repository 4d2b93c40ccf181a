"""Bodies of POST /chat."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from berth_inference.schemas.values import (
    EarlyStopping,
    Flag,
    Integer,
    Number,
    Text,
    TokenIds,
    refused,
)

_CONSTRAINED = "constrained beam search left transformers; say in the prompt what the text has to contain"
_CONTRASTIVE = "contrastive search left transformers; use repetition_penalty or no_repeat_ngram_size"


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: Text


class GenerateKwargs(BaseModel):
    """Arguments of the generation. null means "not given".

    What is not given is taken from the model's own generation_config.json; a model that says
    nothing of sampling is sampled with top_k 10.
    """

    model_config = ConfigDict(extra="forbid")

    max_length: Annotated[Integer, Field(ge=1)] | None = Field(
        None, description="Most tokens of prompt and answer together. Ends at the model's context length."
    )
    max_new_tokens: Annotated[Integer, Field(ge=1)] | None = Field(
        None, description="Most tokens of the answer; wins over max_length. With neither: 200."
    )
    min_length: Annotated[Integer, Field(ge=0)] | None = Field(
        None, description="Fewest tokens of prompt and answer together."
    )
    min_new_tokens: Annotated[Integer, Field(ge=0)] | None = Field(
        None, description="Fewest tokens of the answer; wins over min_length."
    )
    do_sample: Flag | None = Field(
        None,
        description="Draw the next token at random rather than take the likeliest. Not given: true where "
        "another sampling argument is given, false with several beams, else the model's default.",
    )
    early_stopping: EarlyStopping = Field(
        None, description="Beam search ends as soon as there are num_beams complete texts."
    )
    num_beams: Annotated[Integer, Field(ge=1)] | None = Field(
        None, description="Beams of beam search; 1 is none."
    )
    num_beam_groups: Annotated[Integer, Field(ge=0)] | None = Field(
        None,
        description="Diverse beam search: num_beams divided into this many equal groups, each of which shuns "
        "what those before it chose. Needs a diversity_penalty, and no sampling; 0 and 1 are off.",
    )
    diversity_penalty: Annotated[Number, Field(ge=0, le=100)] | None = Field(
        None,
        description="Taken from a token's score for each beam of an earlier group that chose it at the same "
        "position. Goes with num_beam_groups.",
    )
    # The bounds of the next few are far outside what is useful and inside what float32 can compute.
    temperature: Annotated[Number, Field(ge=0.001, le=100)] | None = Field(
        None, description="Scale of randomness, above 0. For the likeliest token send do_sample false."
    )
    top_k: Annotated[Integer, Field(ge=0)] | None = Field(
        None, description="Draw from the k likeliest tokens; 0 is all of them."
    )
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="Draw from the fewest tokens whose probabilities add up to this."
    )
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="Draw from tokens at least this probable, relative to the likeliest."
    )
    typical_p: Annotated[Number, Field(gt=0, le=1)] | None = Field(
        None, description="Draw from the most typical tokens whose probabilities add up to this."
    )
    repetition_penalty: Annotated[Number, Field(ge=0.01, le=100)] | None = Field(
        None, description="Above 1, tokens that occurred already become less likely."
    )
    length_penalty: Annotated[Number, Field(ge=-10, le=10)] | None = Field(
        None, description="Beam search prefers longer texts above 0 and shorter ones below."
    )
    no_repeat_ngram_size: Annotated[Integer, Field(ge=0)] | None = Field(
        None, description="No run of this many tokens occurs twice; 0 is off."
    )
    encoder_no_repeat_ngram_size: Annotated[Integer, Field(ge=0)] | None = Field(
        None, description="No run of this many tokens of the prompt occurs in the answer; 0 is off."
    )
    bad_words_ids: Annotated[tuple[TokenIds, ...], Field(max_length=1024)] | None = Field(
        None, description="Token sequences that must not be generated."
    )
    num_return_sequences: Annotated[Integer, Field(ge=1)] | None = Field(
        None, description="How many answers."
    )
    output_scores: Flag | None = Field(
        None, description="Return each token's log-probability, under details.sequences[].scores."
    )
    return_dict_in_generate: Flag | None = Field(
        None, description="Return tokens, counts and finish reasons under details."
    )
    pad_token_id: Annotated[Integer, Field(ge=0)] | None = Field(
        None, description="Token that fills up short rows."
    )
    eos_token_id: TokenIds | None = Field(None, description="Token or tokens that end an answer.")
    forced_bos_token_id: Annotated[Integer, Field(ge=0)] | None = Field(
        None, description="Second token of a text whose prompt is one token long."
    )
    forced_eos_token_id: TokenIds | None = Field(
        None, description="Token that is forced when the longest allowed text is reached."
    )
    remove_invalid_values: Flag | None = Field(
        None, description="Take NaN and infinity out of the model's scores before choosing."
    )
    stop_strings: (
        Annotated[tuple[Annotated[Text, Field(min_length=1, max_length=200)], ...], Field(max_length=16)]
        | None
    ) = Field(None, description="Texts that end an answer; part of it.")
    max_time: Annotated[Number, Field(gt=0)] | None = Field(
        None, description="Seconds after which the answer ends where it is."
    )
    penalty_alpha: refused(_CONTRASTIVE, 0) = None  # type: ignore[valid-type]
    constraints: refused(_CONSTRAINED, []) = None  # type: ignore[valid-type]
    force_words_ids: refused(_CONSTRAINED, []) = None  # type: ignore[valid-type]
    low_memory: refused("it no longer has a meaning in transformers", False) = None  # type: ignore[valid-type]


class ChatRequest(BaseModel):
    """A prompt, or a conversation, to be continued by the model."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"prompt": "What is Kubernetes?"}]},
    )

    prompt: Text | None = Field(None, description="Text to continue, sent to the model as it is.")
    messages: Annotated[list[Message], Field(min_length=1)] | None = Field(
        None, description="A conversation instead of a prompt; the model's chat template is applied."
    )
    return_full_text: Flag | None = Field(
        None,
        description="Whether Result begins with the prompt; not given: true. With messages, Result is "
        "the assistant's text, and an explicit true adds the whole conversation as messages.",
    )
    clean_up_tokenization_spaces: Flag | None = Field(
        None, description="Take out spaces before punctuation in the generated text."
    )
    prefix: Text | None = Field(None, description="Put before the prompt; not counted or returned.")
    handle_long_generation: Literal["hole"] | None = Field(
        None, description='What to do with a prompt that leaves no room: "hole" drops its beginning.'
    )
    generate_kwargs: GenerateKwargs | None = None
    seed: Annotated[Integer, Field(ge=0, lt=2**63)] | None = Field(
        None, description="Makes sampling repeatable."
    )
    stream: Flag | None = Field(None, description="Send the answer as server-sent events while it is made.")


class SequenceDetails(BaseModel):
    """One generated sequence."""

    text: str
    token_ids: list[int]
    finish_reason: Literal["stop", "length", "cancelled"]
    scores: list[float] | None = Field(None, description="Natural log-probability of each token.")


class Details(BaseModel):
    """What return_dict_in_generate and output_scores add. Counts are in tokens."""

    prompt_tokens: int
    output_tokens: int
    sequences: list[SequenceDetails]


class ChatResponse(BaseModel):
    """The answer. Keys that were not asked for are left out."""

    Result: str = Field(description="The text; the texts one after the other where several were asked for.")
    Results: list[str] | None = Field(
        None, description="Each text by itself, with num_return_sequences above 1."
    )
    messages: list[Message] | None = Field(None, description="The conversation with its answer.")
    details: Details | None = None

    def content(self) -> dict[str, Any]:
        """JSON without the keys that were not asked for."""
        return self.model_dump(exclude_none=True)
