"""Merges LoRA adapters into a model's weights. Imports peft.

Each adapter adds strength * scale * B @ A to the layers that it adapts; several add up. What remains is a plain
model of the library's own layers, which costs no more to run than without adapters.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import peft
import safetensors
import safetensors.torch
import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer, cast_adapter_dtype

from berth_inference.adapters import WEIGHTS, Adapter, adapter_config, unusable
from berth_inference.errors import LoadError

_log = logging.getLogger(__name__)

# peft changes the base's weights for these before it trains, so that what was trained fits no other weights.
_CHANGES_THE_BASE = re.compile(r"pissa.*|olora|corda|loftq|lora_ga")

# What has no meaning in a plain model, by the reason that is given.
_NOT_MERGEABLE = {
    "alora_invocation_tokens": "it applies from certain words on alone",
    "layer_replication": "it repeats layers of the model",
    "megatron_config": "it is made for Megatron's layers",
}

# What takes the place of the model's own values instead of being added to them: no share of it can be taken.
_REPLACES = ("use_dora", "modules_to_save", "trainable_token_indices")

# Of no meaning for merging, or decided here.
_NOT_READ = ("auto_mapping", "base_model_name_or_path", "inference_mode", "revision", "task_type")

_NAME = "default"
_SHOWN = 3


def merge_adapters(model: Any, adapters: Sequence[Adapter], base: str) -> Any:
    """The model with its adapters merged. `base` is the model's name.

    Raises `LoadError` that names the adapter which cannot be merged, and why.
    """
    for adapter in adapters:
        config = adapter_config(adapter)
        _check(adapter, config, alone=len(adapters) == 1)
        trained_for = config.get("base_model_name_or_path")
        if _names_another(trained_for, base):
            _log.warning(
                'adapter "%s" was trained for %s, not for %s', adapter.name, str(trained_for)[:200], base
            )
        try:
            model = _merged(model, adapter, _lora_config(adapter, config), base, trained_for)
        except (LoadError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever an unusual adapter makes peft raise
            _log.debug("merging failed", exc_info=True)
            raise unusable(adapter, f"{type(error).__name__}: {_one_line(error)}") from None
        _log.info("merged adapter %s", adapter)
    return model


def _names_another(trained_for: object, base: str) -> bool:
    """Whether what an adapter was trained for has another name. A path, as of a trainer's container, is no name."""
    return (
        isinstance(trained_for, str)
        and not trained_for.startswith(("/", ".", "~"))
        and trained_for.rpartition("/")[2] != base.rpartition("/")[2]
    )


def _check(adapter: Adapter, config: Mapping[str, Any], *, alone: bool) -> None:
    for name, why in _NOT_MERGEABLE.items():
        if config.get(name):
            raise unusable(adapter, f"{why} ({name})")
    began = config.get("init_lora_weights")
    if isinstance(began, str) and _CHANGES_THE_BASE.fullmatch(began.lower()):
        raise unusable(
            adapter,
            f"its training changed the base (init_lora_weights: {began[:40]}): convert it to plain LoRA with "
            "save_pretrained(path_initial_model_for_weight_conversion=...)",
        )
    replaced = [name for name in _REPLACES if config.get(name)]
    if config.get("bias", "none") != "none":
        replaced.append("bias")
    if replaced and not (alone and adapter.strength == 1):
        raise unusable(
            adapter,
            f"it replaces values of the model ({', '.join(replaced)}), of which no share can be taken and to which "
            'nothing can be added: use it alone and with strength "1.0"',
        )


def _lora_config(adapter: Adapter, config: Mapping[str, Any]) -> Any:
    known = {item.name for item in dataclasses.fields(peft.LoraConfig)}
    # What is off in a newer peft's configuration is as good as not there.
    unknown = sorted(name for name, value in config.items() if name not in known and value)
    if unknown:
        raise unusable(
            adapter, f"its adapter_config.json asks for what is not known here: {', '.join(unknown)[:200]}"
        )
    values = {name: value for name, value in config.items() if name in known and name not in _NOT_READ}
    # How the values began is of no account: the file has them all.
    return peft.LoraConfig(**(values | {"inference_mode": True, "init_lora_weights": True}))


def _merged(model: Any, adapter: Adapter, config: Any, base: str, trained_for: Any) -> Any:
    values = _values(adapter)
    told = f" (it was trained for {trained_for[:200]})" if isinstance(trained_for, str) else ""
    misfit = f"it does not fit {base}{told}"
    try:
        tuner = peft.LoraModel(model, config, _NAME)
    except ValueError as error:  # no layer has the names that it asks for
        raise unusable(adapter, f"{misfit}: {_one_line(error)}") from None
    cast_adapter_dtype(tuner, _NAME)  # to float32, so that half precision is rounded to but once
    expected = peft.get_peft_model_state_dict(model, adapter_name=_NAME, save_embedding_layers=False)
    if problem := _difference(expected, values):
        raise unusable(adapter, f"{misfit}: {problem}")
    if _splits_tied_embeddings(model):
        raise unusable(
            adapter,
            f"it adapts the embeddings, which {base} shares between its input and its output: merged, it would "
            "change both",
        )
    peft.set_peft_model_state_dict(model, values, adapter_name=_NAME)
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.set_scale(_NAME, adapter.strength)
    # Safe: refuses values that are not finite.
    merged = tuner.merge_and_unload(safe_merge=True)
    if hasattr(merged, "peft_config"):
        del merged.peft_config  # or the next adapter would be taken for one of several
    return merged


def _values(adapter: Adapter) -> dict[str, torch.Tensor]:
    try:
        values = safetensors.torch.load_file(adapter.folder / WEIGHTS)
    except (OSError, safetensors.SafetensorError) as error:
        raise unusable(adapter, f"its {WEIGHTS} cannot be read: {_one_line(error)}") from None
    return {name.removeprefix("base_model.model."): value for name, value in values.items()}


def _difference(expected: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> str:
    """What the file has that the model has no place for, or the other way round; "" where they fit."""
    shapes = [
        f"{name} is {_by(values[name])} and would have to be {_by(wanted)}"
        for name, wanted in expected.items()
        if name in values and values[name].shape != wanted.shape
    ]
    lacking = [f"{name} is missing in its file" for name in expected if name not in values]
    beyond = [f"the model has no place for {name}" for name in values if name not in expected]
    for found in (shapes, beyond, lacking):
        if found:
            more = f", and {len(found) - _SHOWN} more like it" if len(found) > _SHOWN else ""
            return f"{'; '.join(found[:_SHOWN])}{more}"
    return ""


def _splits_tied_embeddings(model: Any) -> bool:
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    first, last = (end.get_base_layer() if isinstance(end, BaseTunerLayer) else end for end in ends)
    return any(isinstance(end, BaseTunerLayer) for end in ends) and first.weight is last.weight


def _by(value: torch.Tensor) -> str:
    return " x ".join(map(str, value.shape))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
