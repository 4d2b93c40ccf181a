"""Bodies of POST /chat."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from berth_inference.schemas.values import (
    EarlyStopping,
    Flag,
    Natural,
    Number,
    Positive,
    Seed,
    Text,
    TokenIds,
    refused,
)

_CONSTRAINED = "constrained beam search left transformers; say in the prompt what the text has to contain"
_CONTRASTIVE = "contrastive search left transformers; use repetition_penalty or no_repeat_ngram_size"


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"] = Field(
        description="Who speaks. An assistant's turn at the end is continued."
    )
    content: Text = Field(description="What is said.")


class GenerateKwargs(BaseModel):
    """Arguments of the generation. null means "not given".

    What is not given is as the model's publisher set it in generation_config.json, and as told here
    where the publisher says nothing.
    """

    model_config = ConfigDict(extra="forbid")

    max_length: Positive | None = Field(
        None,
        description="Most tokens of prompt and answer together, and at most the model's context. "
        "Not given: 200 new tokens, whatever the prompt.",
    )
    max_new_tokens: Positive | None = Field(
        None, description="Most tokens of the answer; wins over max_length. Not given: max_length decides."
    )
    min_length: Natural | None = Field(
        None, description="Fewest tokens of prompt and answer together. Not given: 0."
    )
    min_new_tokens: Natural | None = Field(
        None, description="Fewest tokens of the answer; wins over min_length. Not given: min_length decides."
    )
    do_sample: Flag | None = Field(
        None,
        description="Draw the next token at random rather than take the likeliest. Not given: true with a "
        "sampling argument that is not neutral, else false with several beams, else the publisher's, else true.",
    )
    early_stopping: EarlyStopping = Field(
        None,
        description="When beam search ends: true, as soon as there are num_beams complete texts; false, when better "
        'ones are unlikely; "never", when there can be none. Not given: false.',
    )
    num_beams: Positive | None = Field(None, description="Beams of beam search; 1 is none. Not given: 1.")
    num_beam_groups: Natural | None = Field(
        None,
        description="Diverse beam search: num_beams divided into this many equal groups, each of which shuns "
        "what those before it chose. Needs a diversity_penalty, and no sampling; 0 and 1 are off. "
        "Not given: 1.",
    )
    diversity_penalty: Annotated[Number, Field(ge=0, le=100)] | None = Field(
        None,
        description="Taken from a token's score for each beam of an earlier group that chose it at the same "
        "position. Goes with num_beam_groups. Not given: 0.",
    )
    # The bounds of the next few are far outside what is useful and inside what float32 can compute.
    temperature: Annotated[Number, Field(ge=0.001, le=100)] | None = Field(
        None, description="Scale of randomness. For the likeliest token send do_sample false. Not given: 1."
    )
    top_k: Natural | None = Field(
        None,
        description="Draw from the k likeliest tokens; 0 is all of them. Not given: 10, or 50 where the publisher "
        "sets other sampling arguments.",
    )
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="Draw from the fewest tokens whose probabilities add up to this. Not given: 1."
    )
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None,
        description="Draw from tokens at least this probable, relative to the likeliest. Not given: 0.",
    )
    typical_p: Annotated[Number, Field(gt=0, le=1)] | None = Field(
        None,
        description="Draw from the tokens whose surprise is nearest to the average, until their probabilities add "
        "up to this. Not given: 1.",
    )
    repetition_penalty: Annotated[Number, Field(ge=0.01, le=100)] | None = Field(
        None,
        description="Above 1, tokens of the prompt and of the answer so far become less likely. Not given: 1.",
    )
    length_penalty: Annotated[Number, Field(ge=-10, le=10)] | None = Field(
        None, description="Beam search prefers longer texts above 0 and shorter ones below. Not given: 1."
    )
    no_repeat_ngram_size: Natural | None = Field(
        None,
        description="No run of this many tokens occurs twice, the prompt included; 0 is off. Not given: 0.",
    )
    encoder_no_repeat_ngram_size: Natural | None = Field(
        None,
        description="No run of this many tokens of the prompt occurs in the answer, also in models without an "
        "encoder; 0 is off. Not given: 0.",
    )
    bad_words_ids: Annotated[tuple[TokenIds, ...], Field(max_length=1024)] | None = Field(
        None, description="Sequences of tokens that are not generated. Not given: none."
    )
    num_return_sequences: Positive | None = Field(
        None, description="How many answers; above 1 it needs sampling or as many beams. Not given: 1."
    )
    output_scores: Flag | None = Field(
        None,
        description="Add details with each token's log-probability under sequences[].scores. Not given: false.",
    )
    return_dict_in_generate: Flag | None = Field(
        None,
        description="Add details with each answer's tokens, their number and why it ended. Not given: false.",
    )
    pad_token_id: Natural | None = Field(
        None,
        description="Token that fills up rows which ended before others. Such filling is never returned, so it changes "
        "no answer. Not given: the model's.",
    )
    eos_token_id: TokenIds | None = Field(
        None, description="Token or tokens that end an answer. Not given: the model's."
    )
    forced_bos_token_id: Natural | None = Field(
        None,
        description="First token of the answer to a prompt of exactly one token; after longer prompts the beginning is "
        "past, and it has no effect. Not given: none.",
    )
    forced_eos_token_id: TokenIds | None = Field(
        None, description="Last token of an answer that reaches its longest length. Not given: none."
    )
    remove_invalid_values: Flag | None = Field(
        None,
        description="Replace NaN and infinity in the model's scores before choosing, rather than fail. A sound model "
        "gives none. Not given: false.",
    )
    stop_strings: (
        Annotated[tuple[Annotated[Text, Field(min_length=1, max_length=200)], ...], Field(max_length=16)]
        | None
    ) = Field(None, description="Texts that end an answer, and are part of it. Not given: none.")
    max_time: Annotated[Number, Field(gt=0)] | None = Field(
        None, description="Seconds after which the answer ends where it is. Not given: no such limit."
    )
    penalty_alpha: refused(_CONTRASTIVE, 0) = None  # type: ignore[valid-type]
    constraints: refused(_CONSTRAINED, []) = None  # type: ignore[valid-type]
    force_words_ids: refused(_CONSTRAINED, []) = None  # type: ignore[valid-type]
    low_memory: refused("it no longer has a meaning in transformers", False) = None  # type: ignore[valid-type]


class ChatRequest(BaseModel):
    """A prompt, or a conversation, to be continued by the model."""

    model_config = ConfigDict(extra="forbid")

    prompt: Text | None = Field(
        None, description="Text to continue, sent to the model as it is. Not given: messages are needed."
    )
    messages: Annotated[list[Message], Field(min_length=1)] | None = Field(
        None,
        description="A conversation instead of a prompt; the model's chat template is applied. Not given: prompt is "
        "needed.",
    )
    return_full_text: Flag | None = Field(
        None,
        description="Whether Result begins with the prompt. With messages, Result is the assistant's text, and an "
        "explicit true adds the whole conversation as messages. Not given: true.",
    )
    clean_up_tokenization_spaces: Flag | None = Field(
        None,
        description="Take spaces before punctuation out of the generated text; not with stream. Not given: false.",
    )
    prefix: Text | None = Field(
        None,
        description="Put before the prompt; neither counted in max_length nor returned. Not given: none.",
    )
    handle_long_generation: Literal["hole"] | None = Field(
        None,
        description='Of a prompt that leaves no room "hole" drops the beginning. Not given: such a prompt is refused.',
    )
    generate_kwargs: GenerateKwargs | None = Field(
        None, description="Arguments of the generation. Not given: {}."
    )
    seed: Seed | None = Field(
        None, description="Makes sampling repeatable. Not given: another answer each time."
    )
    stream: Flag | None = Field(
        None, description="Send the answer as server-sent events while it is made. Not given: false."
    )
