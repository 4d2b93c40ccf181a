"""What every dialect does about the sampling arguments that a request leaves open."""

from __future__ import annotations

from typing import Any

from berth_inference.engine.interface import ModelInfo
from berth_inference.engine.request import SamplingParams

MIN_TEMPERATURE = 0.001
"""Below it float32 overflows, and the likeliest token is drawn anyway."""

BEAM_ARGUMENTS = frozenset(
    {"num_beams", "num_beam_groups", "diversity_penalty", "length_penalty", "early_stopping"}
)
"""Arguments of `SamplingParams` that only beam search reads."""


def publisher_sampling(info: ModelInfo) -> dict[str, Any]:
    """The arguments of `SamplingParams` that the model's publisher set in generation_config.json."""
    found = {
        name: info.defaults[name] for name in SamplingParams.__dataclass_fields__ if name in info.defaults
    }
    for name in ("bad_words_ids", "forced_eos_token_id"):
        if name in found:
            found[name] = _tuples(found[name])
    return found


def _tuples(value: Any) -> Any:
    """Lists as JSON holds them, and single ids, as the tuples of the request type."""
    if isinstance(value, int):
        return (value,)
    return tuple(tuple(item) if isinstance(item, list | tuple) else item for item in value)
