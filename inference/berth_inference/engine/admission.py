"""Whether a request can be served at all. Pure; shared by every dialect."""

from __future__ import annotations

from dataclasses import dataclass

from berth_inference.engine.interface import ModelInfo
from berth_inference.engine.request import GenerationRequest, SamplingParams
from berth_inference.errors import invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may ask for. Lengths are in tokens."""

    max_prompt_tokens: int | None
    max_output_tokens: int
    max_beams: int
    max_sequences: int


def admit(request: GenerationRequest, info: ModelInfo, limits: Limits) -> None:
    """Raises an INVALID `BerthError`, with the engine's name of the argument, for what cannot be served."""
    _check_lengths(request, info, limits)
    _check_rows(request, limits)
    _check_groups(request.sampling)
    _check_tokens(request, info)
    if info.check is not None:
        info.check(request)


def check_prompt(length: int, info: ModelInfo, limits: Limits) -> None:
    """A prompt has to leave room for one token at least."""
    if length < 1:
        raise invalid("prompt", "has no tokens: send some text.")
    longest = info.context_length - 1
    if limits.max_prompt_tokens is not None:
        longest = min(longest, limits.max_prompt_tokens)
    if length > longest:
        raise invalid(
            "prompt",
            f"is {length} tokens long; this server takes at most {longest} of a context of "
            f"{info.context_length}. Shorten it.",
        )


def _check_lengths(request: GenerationRequest, info: ModelInfo, limits: Limits) -> None:
    check_prompt(len(request.prompt), info, limits)
    room = info.context_length - len(request.prompt)
    if request.max_new_tokens > limits.max_output_tokens:
        raise invalid(
            "max_new_tokens",
            f"asks for {request.max_new_tokens} new tokens; this server generates at most "
            f"{limits.max_output_tokens} for one request.",
        )
    if request.max_new_tokens > room:
        raise invalid(
            "max_new_tokens",
            f"asks for {request.max_new_tokens} new tokens, but after this prompt of {len(request.prompt)} "
            f"the context of {info.context_length} has room for {room}.",
        )
    if request.min_new_tokens > request.max_new_tokens:
        raise invalid(
            "min_new_tokens",
            f"asks for at least {request.min_new_tokens} new tokens, but there is room for "
            f"{request.max_new_tokens} at most.",
        )


def _check_rows(request: GenerationRequest, limits: Limits) -> None:
    beams, sampling = request.sampling.num_beams, request.sampling.do_sample
    if beams > limits.max_beams:
        raise invalid("num_beams", f"is {beams}; this server allows at most {limits.max_beams}.")
    if request.n > limits.max_sequences:
        raise invalid("n", f"is {request.n}; this server allows at most {limits.max_sequences}.")
    if beams == 1 and request.n > 1 and not sampling:
        raise invalid("n", f"is {request.n}, but greedy decoding has one result: sample, or use beams.")
    if beams > 1 and request.n > beams:
        raise invalid("n", f"is {request.n}, but {beams} beams end in at most {beams} results.")


def _check_groups(sampling: SamplingParams) -> None:
    groups, beams = sampling.num_beam_groups, sampling.num_beams
    if groups == 1:
        if sampling.diversity_penalty > 0:
            raise invalid(
                "diversity_penalty",
                "is a penalty between groups of beams, but there is one group: send num_beam_groups above 1, "
                "and a num_beams that it divides.",
            )
        return
    if beams % groups:
        raise invalid(
            "num_beam_groups",
            f"is {groups}, but groups are equal and num_beams is {beams}: make num_beams a multiple of {groups}.",
        )
    if sampling.do_sample:
        raise invalid(
            "num_beam_groups",
            f"is {groups}, but groups of beams are searched and not sampled: send do_sample false.",
        )
    if not sampling.diversity_penalty > 0:
        raise invalid(
            "num_beam_groups",
            f"is {groups}, but without a penalty all groups find the same: send diversity_penalty above 0.",
        )


def _check_tokens(request: GenerationRequest, info: ModelInfo) -> None:
    sampling = request.sampling
    if any(not word for word in sampling.bad_words_ids):
        raise invalid("bad_words_ids", "holds an empty sequence of tokens.")
    named: dict[str, list[int]] = {
        "prompt": [max(request.prompt)],
        "logit_bias": [token for token, _ in sampling.logit_bias],
        "bad_words_ids": [token for word in sampling.bad_words_ids for token in word],
        "forced_eos_token_id": list(sampling.forced_eos_token_id),
        "stop_token_ids": list(request.stop_token_ids),
    }
    for name, token in (
        ("forced_bos_token_id", sampling.forced_bos_token_id),
        ("pad_token_id", request.pad_token_id),
    ):
        named[name] = [token] if token is not None else []
    for name, tokens in named.items():
        unknown = [token for token in tokens if token >= info.vocabulary]
        if unknown:
            raise invalid(
                name, f"holds the token {unknown[0]}, but this model's tokens end at {info.vocabulary - 1}."
            )
