"""LoRA adapters as the server is told of them: a name, a folder, a strength; and whether a folder holds one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from berth_inference.errors import LoadError, LoadFailure

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

_NAMED = re.compile(r"(?P<name>[a-z0-9]([-a-z0-9]*[a-z0-9])?)(:(?P<strength>[^=]*))?=(?P<folder>.+)")

# What peft writes where there are no safetensors; a pickle, which can run code when it is read.
_PICKLED = "adapter_model.bin"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter in a folder; `strength` is the share of it, 0 to 1, that is added to the model."""

    name: str
    folder: Path
    strength: float = 1.0

    def __str__(self) -> str:
        return self.name if self.strength == 1 else f"{self.name} ({self.strength:g})"


def parse_adapter(text: str) -> Adapter:
    """Read `NAME=FOLDER` or `NAME:STRENGTH=FOLDER`. Raises `ValueError` with one line."""
    found = _NAMED.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text[:100]!r} is not NAME=FOLDER or NAME:STRENGTH=FOLDER, with a name of lower-case letters, "
            "digits and '-'"
        )
    try:
        strength = float(found["strength"] or 1)
    except ValueError:
        strength = -1.0
    if not 0 <= strength <= 1:
        raise ValueError(
            f"{found['strength'][:30]!r}, the strength of {found['name']}, is not between 0 and 1"
        )
    return Adapter(found["name"], Path(found["folder"]), strength)


def adapter_config(adapter: Adapter) -> dict[str, Any]:
    """What the adapter's `adapter_config.json` says. Raises `LoadError` where its folder holds no LoRA adapter."""
    path = adapter.folder / CONFIG
    if not path.is_file():
        raise unusable(
            adapter,
            f"there is no {CONFIG} among its files: put what peft's save_pretrained wrote into the image under "
            "/data, or at the root of the volume",
        )
    if not (adapter.folder / WEIGHTS).is_file():
        pickled = (adapter.folder / _PICKLED).is_file()
        raise unusable(
            adapter,
            f"it has {_PICKLED} alone, which can run code when it is read: save it anew with a current peft, "
            f"which writes {WEIGHTS}"
            if pickled
            else f"there is no {WEIGHTS} among its files",
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise unusable(adapter, f"its {CONFIG} cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise unusable(adapter, f"its {CONFIG} is no JSON object")
    kind = config.get("peft_type")
    if kind != "LORA":
        raise unusable(adapter, f"it is of the kind {kind!r} (peft_type), and only LORA can be merged")
    return config


def unusable(adapter: Adapter, why: str) -> LoadError:
    """The error that says why an adapter cannot be merged."""
    return LoadError(f'adapter "{adapter.name}" cannot be merged: {why}', LoadFailure.INVALID_ADAPTER)
