"""POST /v1/generate: from its arguments to the engine's request. Its names and meanings are vLLM's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from berth_inference.dialects.sampling import MIN_TEMPERATURE, publisher_sampling
from berth_inference.dialects.text import check_text
from berth_inference.engine.admission import Limits, admit, check_prompt
from berth_inference.engine.interface import ChatMessage, ModelInfo
from berth_inference.engine.request import GenerationRequest, SamplingParams
from berth_inference.errors import BerthError, invalid
from berth_inference.schemas.generate import DEFAULT_MAX_TOKENS, GenerateRequest

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be continued: a text as it is, or a conversation."""

    text: str | None
    turns: tuple[ChatMessage, ...] = ()

    @property
    def param(self) -> str:
        """The argument that it came by, for errors about its length."""
        return "messages" if self.turns else "prompt"


def source(body: GenerateRequest, info: ModelInfo) -> Source:
    """The prompt or conversation, with the input variables put in. Raises an INVALID `BerthError`."""
    given = [name for name in ("prompt", "formatted_prompt", "messages") if getattr(body, name)]
    if len(given) > 1:
        raise invalid(given[1], f"and {given[0]} exclude each other: send one of them.")
    variables = dict(body.input_variables or {})
    for name, value in variables.items():
        check_text(value, f"input_variables.{name[:60]}")
    if not given:
        return _asked(variables, info)
    used: set[str] = set()
    text = body.prompt or body.formatted_prompt
    if text is not None:
        check_text(text, given[0])
        found = Source(_filled(text, variables, used))
    else:
        for turn in body.messages or ():
            check_text(turn.content, "messages")
        found = Source(
            None,
            tuple(
                {"role": turn.role, "content": _filled(turn.content, variables, used)}
                for turn in body.messages or ()
            ),
        )
    unused = sorted(variables.keys() - used)
    if unused:
        raise invalid(
            f"input_variables.{unused[0][:60]}",
            f"has no place: there is no {{{unused[0][:60]}}} in {given[0]}.",
        )
    return found


def _filled(text: str, variables: dict[str, str], used: set[str]) -> str:
    """The text with {name} replaced where there is such a variable; other braces stay."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in variables:
            return match[0]
        used.add(match[1])
        return variables[match[1]]

    return _PLACE.sub(value, text) if variables else text


def _asked(variables: dict[str, str], info: ModelInfo) -> Source:
    """Input variables alone: a question, and what it is to be answered by."""
    prompt, system = variables.pop("prompt", ""), variables.pop("system", "")
    if not prompt:
        raise invalid(
            None,
            "Send a prompt (text to continue), messages (a conversation), or input_variables with a prompt.",
        )
    if variables:
        raise invalid(
            f"input_variables.{next(iter(variables))[:60]}",
            "has no place: without a prompt or messages, input_variables are prompt and system.",
        )
    if not info.has_chat_template:
        return Source(f"{system}\n\n{prompt}" if system else prompt)
    turns: list[ChatMessage] = [{"role": "system", "content": system}] if system else []
    return Source(None, (*turns, {"role": "user", "content": prompt}))


def outputs(body: GenerateRequest) -> tuple[int, int]:
    """How many outputs are returned, and how many are made for it. Raises an INVALID `BerthError`."""
    n = body.n or 1
    best_of = body.best_of or n
    if best_of < n:
        raise invalid("best_of", f"is {best_of}, but n asks for {n}: make best_of at least n.")
    return n, best_of


def to_request(
    body: GenerateRequest, prompt: Sequence[int], param: str, info: ModelInfo, limits: Limits
) -> GenerationRequest:
    """The engine's request. `param` names the argument that the prompt came by.

    Raises an INVALID `BerthError` in the names of this API.
    """
    n, best_of = outputs(body)
    beams = bool(body.use_beam_search)
    sampling = _beams(body, info, best_of) if beams else _sampling(body, info, best_of)
    try:
        check_prompt(len(prompt), info, limits)
        room = min(info.context_length - len(prompt), limits.max_output_tokens)
        request = GenerationRequest(
            prompt=tuple(prompt),
            max_new_tokens=body.max_tokens or min(DEFAULT_MAX_TOKENS, room),
            n=n if beams else best_of,
            sampling=sampling,
            stop_token_ids=info.stop_token_ids,
            pad_token_id=info.pad_token_id,
            seed=body.seed,
            logprobs=not beams and best_of > n,
        )
        admit(request, info, limits)
    except BerthError as error:
        names = {
            "prompt": param,
            "max_new_tokens": "max_tokens",
            "num_beams": "best_of",
            "n": "best_of" if body.best_of and not beams else "n",
        }
        raise error.renamed(names) from None
    return request


def _sampling(body: GenerateRequest, info: ModelInfo, best_of: int) -> SamplingParams:
    if body.early_stopping:
        raise invalid("early_stopping", "has an effect with use_beam_search true only.")
    if body.length_penalty not in (None, 1):
        raise invalid("length_penalty", "has an effect with use_beam_search true only.")
    temperature = 1.0 if body.temperature is None else body.temperature
    if 0 < temperature < MIN_TEMPERATURE:
        raise invalid("temperature", f"must be 0, for the likeliest token, or at least {MIN_TEMPERATURE}.")
    if temperature == 0 and best_of > 1:
        raise invalid(
            "best_of" if body.best_of else "n",
            "must be 1 with temperature 0, which has one result: raise temperature, or use beams.",
        )
    values = _documented(body) | {"do_sample": temperature > 0, "temperature": temperature or 1.0}
    return SamplingParams(**{**publisher_sampling(info), **values})


def _beams(body: GenerateRequest, info: ModelInfo, best_of: int) -> SamplingParams:
    if best_of < 2:
        raise invalid("best_of", "is the number of beams with use_beam_search: send at least 2.")
    if body.temperature != 0:
        raise invalid("temperature", "must be 0 with use_beam_search.")
    for name, neutral in (("top_p", (None, 1)), ("top_k", (None, -1, 0)), ("min_p", (None, 0))):
        if getattr(body, name) not in neutral:
            raise invalid(name, "has no effect with use_beam_search: leave it out.")
    values = _documented(body) | {
        "do_sample": False,
        "temperature": 1.0,
        "num_beams": best_of,
        "length_penalty": 1.0 if body.length_penalty is None else body.length_penalty,
        "early_stopping": body.early_stopping or False,
    }
    return SamplingParams(**{**publisher_sampling(info), **values})


def _documented(body: GenerateRequest) -> dict[str, Any]:
    """Arguments with the defaults that the API documents, whatever the model's publisher set."""
    return {
        "presence_penalty": body.presence_penalty or 0.0,
        "frequency_penalty": body.frequency_penalty or 0.0,
        "repetition_penalty": 1.0 if body.repetition_penalty is None else body.repetition_penalty,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "top_k": max(0, body.top_k or 0),
        "min_p": body.min_p or 0.0,
        "num_beams": 1,
        "num_beam_groups": 1,
        "diversity_penalty": 0.0,
        "length_penalty": 1.0,
        "early_stopping": False,
    }


def best(scores: Sequence[float], n: int) -> list[int]:
    """Positions of the n highest scores, the highest first; equal ones in order."""
    return sorted(range(len(scores)), key=lambda index: -scores[index])[:n]
