"""The one internal request. Every HTTP dialect translates to it; every engine is asked with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from berth_inference.engine.grammar import Grammar


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen. Names, meanings and ranges are those of transformers.

    The defaults are neutral: greedy decoding with no penalty and nothing forbidden.
    """

    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0  # 0 keeps every token
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    encoder_no_repeat_ngram_size: int = 0
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    forced_bos_token_id: int | None = None
    forced_eos_token_id: tuple[int, ...] = ()
    remove_invalid_values: bool = False
    # These two are not of transformers: of generated tokens, as the OpenAI API and vLLM define them.
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()  # (token, what to add to its logit)
    num_beams: int = 1
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One prompt and what to make of it.

    `prompt` holds token ids and is never empty. `n` sequences are generated, each of at least
    `min_new_tokens` and at most `max_new_tokens` tokens, ended by one of `stop_token_ids` (part of
    the sequence), by one of the `stop` strings (part of it too: cutting it off is the dialect's
    choice), or after `max_seconds` of generation. `seed` makes sampling repeatable. With `logprobs`
    each token comes with its natural log-probability under the model, before penalties and
    sampling arguments, and with those of the `top_logprobs` likeliest tokens at its position. Text that
    has ended by a stop token is within the `grammar`; text cut short is the beginning of such a text.
    """

    prompt: tuple[int, ...]
    max_new_tokens: int
    min_new_tokens: int = 0
    n: int = 1
    sampling: SamplingParams = field(default_factory=SamplingParams)
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    pad_token_id: int | None = None
    seed: int | None = None
    max_seconds: float | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    grammar: Grammar | None = None
