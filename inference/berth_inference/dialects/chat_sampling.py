"""POST /chat: whose word counts for each argument of the sampling."""

from __future__ import annotations

from typing import Any

from berth_inference.dialects.sampling import publisher_sampling
from berth_inference.engine.interface import ModelInfo
from berth_inference.engine.request import SamplingParams
from berth_inference.schemas.chat import GenerateKwargs

# What each argument asks for when it asks for nothing; anything else means that sampling is wanted.
_NEUTRAL_SAMPLING: dict[str, Any] = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
}

# The API's documented defaults, for models whose publisher says nothing of sampling.
_API_DEFAULTS: dict[str, Any] = {"do_sample": True, "top_k": 10}

# transformers' own default, which publishers who set other sampling arguments count on.
_LIBRARY_TOP_K = 50


def sampling_params(arguments: GenerateKwargs, info: ModelInfo) -> SamplingParams:
    """How to choose tokens: the request's own arguments, then the model's, then the API's."""
    names = SamplingParams.__dataclass_fields__
    given = {name: value for name in names if (value := getattr(arguments, name, None)) is not None}
    publisher = publisher_sampling(info)
    base = dict(_API_DEFAULTS)
    if publisher.keys() & {"do_sample", *_NEUTRAL_SAMPLING}:
        base = {"do_sample": True, "top_k": _LIBRARY_TOP_K}
    values = {**base, **publisher, **given}
    if "do_sample" not in given:
        asks_to_sample = any(given.get(name, plain) != plain for name, plain in _NEUTRAL_SAMPLING.items())
        if asks_to_sample:
            values["do_sample"] = True
        elif values.get("num_beams", 1) > 1:
            values["do_sample"] = False
    values |= _groups(values, given)
    return SamplingParams(**values)


def _groups(values: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """How beams are grouped: as the publisher does only where a request says nothing of beams or sampling."""
    own = values["do_sample"] or given.keys() & {"num_beams", "num_beam_groups", "diversity_penalty"}
    source = given if own else values
    groups = max(1, source.get("num_beam_groups", 1))
    # A publisher's penalty without groups has no effect; a request's is refused.
    penalty = source.get("diversity_penalty", 0.0) if own or groups > 1 else 0.0
    return {"num_beam_groups": groups, "diversity_penalty": penalty}
