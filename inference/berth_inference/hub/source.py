"""Which hub models are taken from, with what token, and into which cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Hub:
    """Where models come from and go to. The token is the environment's alone: no file on a shared volume is read."""

    cache: Path
    endpoint: str | None = None
    token: str | None = None
    offline: bool = False


def hub_of(environment: Mapping[str, str]) -> Hub:
    """The hub that the environment names: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HUB_CACHE or HF_HOME."""
    from huggingface_hub import constants

    return Hub(
        Path(constants.HF_HUB_CACHE),
        environment.get("HF_ENDPOINT", "").strip() or None,
        environment.get("HF_TOKEN", "").strip() or None,
        constants.is_offline_mode(),
    )
