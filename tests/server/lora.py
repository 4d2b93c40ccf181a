"""Adapters for tests: trained for tiny-chat by its own script, and merged by hand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

SCRIPT = Path(__file__).parents[2] / "inference" / "tiny_chat" / "adapter.py"


def training() -> ModuleType:
    """The script that trains adapters for tiny-chat."""
    spec = importlib.util.spec_from_file_location("tiny_chat_adapter", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save_random_adapter(folder: Path, model: Any, seed: int = 0, **config: Any) -> Any:
    """Write a random LoRA adapter of the model to `folder`; returns the model under peft, not merged."""
    import peft
    import torch

    asked: dict[str, Any] = {"r": 2, "lora_alpha": 4, "init_lora_weights": True, **config}
    wrapped = peft.LoraModel(model, peft.LoraConfig(**asked), "default")
    torch.manual_seed(seed)
    with torch.no_grad():
        for values in model.parameters():
            if values.requires_grad:
                values += torch.randn(values.shape) * 0.1
    state = peft.get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
    write_adapter(folder, model.peft_config["default"], state)
    return wrapped


def write_adapter(folder: Path, config: Any, state: dict[str, Any]) -> None:
    """Write the files that peft's save_pretrained writes."""
    import safetensors.torch

    config.save_pretrained(folder)
    values = {f"base_model.model.{name}": value.contiguous() for name, value in state.items()}
    safetensors.torch.save_file(values, folder / "adapter_model.safetensors")


def merge_by_hand(model: Any, folder: Path, strength: float) -> None:
    """Add strength * alpha / r * B @ A to every layer that the files in `folder` adapt. Needs no peft."""
    import safetensors.torch
    import torch

    config = json.loads((folder / "adapter_config.json").read_text())
    values = safetensors.torch.load_file(folder / "adapter_model.safetensors")
    scale = strength * config["lora_alpha"] / config["r"]
    with torch.no_grad():
        for name, down in values.items():
            if not name.endswith(".lora_A.weight"):
                continue
            up = values[name.replace("lora_A", "lora_B")]
            layer = model.get_submodule(name.removeprefix("base_model.model.").removesuffix(".lora_A.weight"))
            layer.weight += scale * up @ down
