"""From an internal request to the body of vLLM's POST /v1/completions, or to the reason why there is none. Pure.

vLLM leaves out in silence what it does not know, so every argument is either sent or refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from berth_inference.engine.request import GenerationRequest, SamplingParams
from berth_inference.errors import BerthError, invalid

MAPPED: Mapping[str, str] = {
    "prompt": "`prompt`, as tokens",
    "max_new_tokens": "`max_tokens`",
    "min_new_tokens": "`min_tokens`",
    "n": "`n`",
    "stop": "`stop`",
    "stop_token_ids": "`stop_token_ids` with `ignore_eos`: these tokens end an answer, and no others",
    "pad_token_id": "nothing: there is no padding",
    "seed": "`seed`",
    "max_seconds": "nothing: the front ends the request after the token that is over the time, the wait in vLLM "
    "included",
    "logprobs": "`logprobs`",
    "top_logprobs": "`logprobs`",
    "grammar": "`response_format`; only with the model's own stop tokens",
    "do_sample": "`temperature` 0 where it is false",
    "temperature": "`temperature`; at least 0.01, below which vLLM would take 0.01",
    "top_k": "`top_k`",
    "top_p": "`top_p`; above 0",
    "min_p": "`min_p`",
    "repetition_penalty": "`repetition_penalty`",
    "presence_penalty": "`presence_penalty`",
    "frequency_penalty": "`frequency_penalty`",
    "logit_bias": "`logit_bias`",
    "num_beams": "`use_beam_search` and `n`, without sampling, penalties, stop strings, log-probabilities and limits "
    "of time; vLLM's search knows the tokenizer's end token alone: at other stop tokens, texts are cut afterwards",
    "length_penalty": "`length_penalty`, where vLLM counts the prompt, too",
    "early_stopping": "nothing: vLLM searches until no beam is left or the longest length is reached, which is what "
    '`"never"` asks for and no less than what false does; true is refused',
}
"""What vLLM is sent for each argument of a request, for documentation."""

REFUSED: Mapping[str, str] = {
    "typical_p": "send top_p or min_p",
    "no_repeat_ngram_size": "send repetition_penalty or frequency_penalty",
    "encoder_no_repeat_ngram_size": "send repetition_penalty",
    "bad_words_ids": "it knows words and no tokens; in the OpenAI API, logit_bias -100 keeps a token away",
    "forced_bos_token_id": "put the token into the prompt",
    "forced_eos_token_id": "add it to the answer yourself",
    "remove_invalid_values": "it fails on them",
    "num_beam_groups": "its beam search has no groups",
    "diversity_penalty": "its beam search has no groups",
}
"""What vLLM has no argument for, and what to do instead."""

# vLLM raises a lower temperature to this one and says so in its own log only.
_MIN_TEMPERATURE = 0.01

_NEUTRAL = SamplingParams()

# Arguments that vLLM's beam search takes and does not look at.
_NOT_WITH_BEAMS = ("repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias")


def check(request: GenerationRequest, *, stops: tuple[int, ...], end: int | None) -> None:
    """Raises an INVALID `BerthError` for what vLLM cannot do.

    `stops` are the tokens that end the model's answers, `end` the one of them that is the tokenizer's.
    """
    sampling = request.sampling
    for name, instead in REFUSED.items():
        if getattr(sampling, name) != getattr(_NEUTRAL, name):
            raise _cannot(name, instead)
    if sampling.do_sample and sampling.temperature < _MIN_TEMPERATURE:
        raise invalid("temperature", f"is below {_MIN_TEMPERATURE}, the least that vLLM samples with.")
    if sampling.do_sample and sampling.top_p <= 0:
        raise invalid("top_p", "must be above 0 for vLLM, which runs this model.")
    if sampling.num_beams > 1:
        _check_beams(request, end)
    if request.grammar is not None and not (stops and set(stops) <= set(request.stop_token_ids)):
        raise invalid(
            "response_format", "needs the model's own stop tokens in vLLM: leave out what takes them away."
        )


def _check_beams(request: GenerationRequest, end: int | None) -> None:
    sampling = request.sampling
    if sampling.do_sample:
        raise _cannot("num_beams", "beams are searched and not sampled", " with sampling")
    if sampling.early_stopping is True:
        raise _cannot("early_stopping", "leave it out, or send false")
    for name in _NOT_WITH_BEAMS:
        if getattr(sampling, name) != getattr(_NEUTRAL, name):
            raise _cannot(name, "leave it out", " with beams")
    others = {
        "stop": bool(request.stop),
        "min_new_tokens": request.min_new_tokens > 0,
        "max_seconds": request.max_seconds is not None,
        "logprobs": request.logprobs,
        "response_format": request.grammar is not None,
    }
    for name, asked in others.items():
        if asked:
            raise _cannot(name, "leave it out", " with beams")
    if request.stop_token_ids and end not in request.stop_token_ids:
        raise _cannot("stop_token_ids", f"leave them out, or add {end}", " with beams")


def _cannot(name: str, instead: str, when: str = "") -> BerthError:
    return invalid(name, f"is nothing that vLLM, which runs this model, can do{when}: {instead}.")


def completion(request: GenerationRequest, model: str) -> dict[str, Any]:
    """The body of POST /v1/completions, for a request that `check` let pass.

    Everything that vLLM would take from the model's generation_config.json otherwise is stated: the dialects have
    decided what of that applies.
    """
    body = {
        "model": model,
        "prompt": list(request.prompt),
        "max_tokens": request.max_new_tokens,
        "return_token_ids": True,
    }
    if request.sampling.num_beams > 1:
        return body | _beams(request)
    return body | _sampling(request) | _ends(request) | _extras(request)


def _beams(request: GenerationRequest) -> dict[str, Any]:
    return {
        "use_beam_search": True,
        "n": request.sampling.num_beams,
        # Else it draws a token at random for each beam, which becomes a candidate, too.
        "temperature": 0.0,
        "length_penalty": request.sampling.length_penalty,
        "ignore_eos": not request.stop_token_ids,
        "include_stop_str_in_output": True,
    }


def _sampling(request: GenerationRequest) -> dict[str, Any]:
    sampling = request.sampling
    drawn = sampling if sampling.do_sample else _NEUTRAL
    body: dict[str, Any] = {
        "stream": True,
        "n": request.n,
        "temperature": sampling.temperature if sampling.do_sample else 0.0,
        "top_k": drawn.top_k,
        "top_p": drawn.top_p,
        "min_p": drawn.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
    }
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias}
    if request.seed is not None:
        body["seed"] = request.seed
    return body


def _ends(request: GenerationRequest) -> dict[str, Any]:
    return {
        "min_tokens": request.min_new_tokens,
        "stop": list(request.stop),
        "stop_token_ids": list(request.stop_token_ids),
        # A grammar ends with vLLM's own end token, which is among the stop tokens then.
        "ignore_eos": request.grammar is None,
    }


def _extras(request: GenerationRequest) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if request.logprobs:
        body |= {"logprobs": request.top_logprobs, "return_tokens_as_token_ids": True}
    if request.grammar is not None:
        form: dict[str, Any] = {"type": request.grammar.kind}
        if request.grammar.kind == "json_schema":
            form["json_schema"] = {"name": "answer", "schema": json.loads(request.grammar.schema)}
        body["response_format"] = form
    return body


def of_publisher(defaults: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A publisher's generation arguments without those that vLLM has not, and the names of these."""
    dropped = [name for name in defaults if name in REFUSED and defaults[name] != getattr(_NEUTRAL, name)]
    return {name: value for name, value in defaults.items() if name not in REFUSED}, sorted(dropped)
