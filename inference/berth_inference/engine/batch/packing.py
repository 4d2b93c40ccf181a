"""Puts linear layers that are faster on a CPU into a model, where a test shows that they compute the same."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from berth_inference.engine.batch.joined_linear import JoinedLinear
from berth_inference.engine.batch.native_linear import native_or_packed, native_pays
from berth_inference.engine.batch.packed_linear import PackedLinear, can_pack

_log = logging.getLogger(__name__)

# Rows with which the layers are tried: decoding alone, an odd batch, part of a prompt.
_TRIED_ROWS = (1, 5, 33)
# Largest difference as a share of the largest value. float32 kernels sum in another order; bfloat16
# results are rounded to 8 bits, so that neighbours differ by up to 1/128.
_LAYER_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2**-6}
# Over a whole model the roundings of all layers add up.
_MODEL_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}


@torch.inference_mode()
def pack(model: Any) -> int:
    """Replace a model's linear layers; returns how many. 0 where that cannot be done or is not exact."""
    if model.device.type != "cpu" or model.dtype not in _LAYER_TOLERANCE:
        return 0
    replaced = 0
    if model.dtype is torch.bfloat16 and native_pays():
        replaced = _replace(model, native_or_packed, "C")
    if not replaced and can_pack(model.dtype):
        replaced = _replace(model, PackedLinear, "oneDNN")
    return replaced


def _replace(model: Any, faster: Callable[[Any], torch.nn.Module], by: str) -> int:
    dtype: torch.dtype = model.dtype
    prompt = torch.arange(7)[None] % model.config.get_text_config().vocab_size
    replaced: list[tuple[Any, str, Any]] = []
    try:
        before = model(prompt, use_cache=False).logits.float()
        tried: set[tuple[int, int, bool]] = set()
        for parent in list(model.modules()):
            for name, layer in list(parent.named_children()):
                if _dtype(layer) is not dtype:
                    continue
                new = faster(layer)
                if new is layer:
                    continue
                shape = (layer.in_features, layer.out_features, layer.bias is not None)
                if shape not in tried and not _agree(layer, new, _LAYER_TOLERANCE[dtype]):
                    raise _Differs(f"a layer of {shape[0]} by {shape[1]}")
                tried.add(shape)
                setattr(parent, name, new)
                replaced.append((parent, name, layer))
        after = model(prompt, use_cache=False).logits.float()
        if not _close(before, after, _MODEL_TOLERANCE[dtype]):
            raise _Differs("the model")
    except (RuntimeError, AttributeError, TypeError, _Differs) as error:
        _log.warning(
            "this model's linear layers are not computed by %s, which is slower: %s: %s",
            by,
            type(error).__name__,
            error,
        )
        for parent, name, layer in replaced:
            setattr(parent, name, layer)
        return 0
    return len(replaced)


def _dtype(layer: Any) -> torch.dtype | None:
    """The number type of a layer that can be packed; None for any other."""
    if isinstance(layer, JoinedLinear):
        return layer.dtype
    return layer.weight.dtype if type(layer) is torch.nn.Linear else None


class _Differs(Exception):
    """The layers that took others' places do not compute the same."""


def _agree(layer: Any, new: torch.nn.Module, tolerance: float) -> bool:
    generator = torch.Generator().manual_seed(0)
    for rows in _TRIED_ROWS:
        states = torch.randn(1, rows, layer.in_features, generator=generator).to(_dtype(layer))
        if not _close(layer(states), new(states), tolerance):
            return False
    return True


def _close(expected: torch.Tensor, found: torch.Tensor, tolerance: float) -> bool:
    largest = float(expected.abs().max())
    return float((expected.float() - found.float()).abs().max()) <= tolerance * largest
