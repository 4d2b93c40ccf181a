"""Puts fused layers into a model whose family is known, where a test shows that they compute the same."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from berth_inference.engine.batch.fused_layer import FAMILIES, Family, FusedLayer, rotations
from berth_inference.engine.batch.kv_cache import BatchCache
from berth_inference.engine.batch.native_layer import NativeLayer
from berth_inference.engine.batch.native_linear import native_pays
from berth_inference.engine.batch.rope import RopeRegimes
from berth_inference.engine.batch.self_test import trial_logits
from berth_inference.kernels import attention, products

_log = logging.getLogger(__name__)

# Largest difference of logits, as a share of their spread. Fused layers round where the library's do,
# and small models come out the same to the bit; but kernels may sum in another order for other shapes,
# and in bfloat16, with its 8 bits, a difference in the last one grows over the layers.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.25}
# The attention functions of which it is known what they read of the layer that calls them.
_ATTENTIONS = {"sdpa", "eager"}


@torch.inference_mode()
def fuse(model: Any, rope: RopeRegimes) -> str | None:
    """Replace a model's decoder layers, for every caller of the model. None, or why they stay as they are.

    To be called before weights are packed, which then packs what belongs together as one matrix.
    """
    reason = why_not_fusible(model)
    if reason is not None:
        return reason
    before = trial_logits(model, rope)
    kinds = [NativeLayer, FusedLayer] if _native(model) else [FusedLayer]
    for kind in kinds:
        reason = _try(model, rope, kind, before)
        if reason is None:
            return None
        if kind is not kinds[-1]:
            _log.warning("layers in C are not used: %s", reason)
    return reason


def computed_in_c(model: Any) -> bool:
    """Whether all that takes time in a model as it was loaded will be C, unless `fuse` finds that it differs."""
    if why_not_fusible(model) is not None or not _native(model):
        return False
    linear = (module for module in model.modules() if isinstance(module, torch.nn.Linear))
    return attention.fits(model.model.layers[0].self_attn.head_dim) and all(
        products.fits(layer.in_features, layer.out_features) for layer in linear
    )


def _native(model: Any) -> bool:
    """Whether C of Berth's own computes for it, and is worth it here."""
    suits = model.dtype is torch.bfloat16 and model.config._attn_implementation == "sdpa"
    return suits and model.device.type == "cpu" and native_pays()


def _try(model: Any, rope: RopeRegimes, kind: type[FusedLayer], before: list[torch.Tensor]) -> str | None:
    """Put layers of a kind in; None, or why they have been taken out again."""
    body = model.model
    originals = body.layers
    undo = _replace(model, kind)
    try:
        difference = max(_difference(*pair) for pair in zip(before, trial_logits(model, rope), strict=True))
    except Exception as error:
        reason = f"fused layers fail with {type(error).__name__}"
        _log.debug("fused layers failed", exc_info=True)
    else:
        if difference <= _TOLERANCE[model.dtype]:
            return None
        reason = f"fused layers' logits differ by {difference:.2g} of their spread"
    undo()
    body.layers = originals
    return reason


def why_not_fusible(model: Any) -> str | None:
    """None for a model of a known family in which nothing is out of the ordinary; otherwise the reason."""
    layers = list(getattr(getattr(model, "model", None), "layers", None) or ())
    names = {f"{type(layer).__module__}.{type(layer).__qualname__}" for layer in layers}
    if len(names) != 1 or not names <= FAMILIES.keys():
        return f"its layers are of no known kind: {', '.join(sorted(names)) or 'none found'}"
    if model.device.type not in ("cpu", "cuda"):
        return f"it is on {model.device.type}"
    if model.training:
        return "it is in training mode"
    if model.dtype not in _TOLERANCE:
        return f"its weights are {model.dtype}"
    attention = model.config._attn_implementation
    if attention not in _ATTENTIONS:
        return f"its attention is {attention}"
    family = FAMILIES[names.pop()]
    for index, layer in enumerate(layers):
        oddity = _oddity(layer, family, model.dtype)
        if oddity is not None:
            return f"in its layer {index}, {oddity}"
    return None


def _oddity(layer: Any, family: Family, dtype: torch.dtype) -> str | None:
    """What a layer has that its family's layers do not have: an adapter, a hook, a quantised weight."""
    for module, expected in (
        (layer, family.layer_parts),
        (layer.self_attn, family.attention_parts),
        (layer.mlp, family.mlp_parts),
    ):
        unexpected = expected ^ {name for name, _ in module.named_children()}
        if unexpected:
            return f"{', '.join(sorted(unexpected))} is unexpected or missing"
    for name in (*family.queries_keys_values, "o_proj"):
        if type(getattr(layer.self_attn, name)) is not torch.nn.Linear:
            return f"{name} is not a plain linear layer"
    for name in (*family.gate_up, "down_proj"):
        if type(getattr(layer.mlp, name)) is not torch.nn.Linear:
            return f"{name} is not a plain linear layer"
    for name, module in layer.named_modules():
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            return f"{name or 'the layer itself'} has a hook"
    odd = sorted(name for name, values in layer.named_parameters() if values.dtype is not dtype)
    return f"{odd[0]} is not {dtype}" if odd else None


def _replace(model: Any, kind: type[FusedLayer]) -> Callable[[], None]:
    """Put fused layers in; returns what takes back all but the layers."""
    body = model.model
    module = type(body.layers[0])
    family = FAMILIES[f"{module.__module__}.{module.__qualname__}"]
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(
        model.config._attn_implementation, sys.modules[module.__module__].eager_attention_forward
    )
    last = body.layers[-1]
    body.layers = torch.nn.ModuleList(
        [kind(layer, family, attend, last=layer is last) for layer in body.layers]
    )
    hook = body.rotary_emb.register_forward_hook(rotations)
    if model.config._attn_implementation == "sdpa":
        body.forward = _Body(body)

    def undo() -> None:
        hook.remove()
        vars(body).pop("forward", None)

    return undo


# Of more tokens than a step has, the layers are what takes the time.
_FEW = 17


class _Body:
    """The forward of all layers. A few more tokens for each row of a batch need little of the library's.

    Anything else, and sequences that are longer than a sliding window, go the library's way.
    """

    def __init__(self, body: Any) -> None:
        self._body = body
        self._library = body.forward
        self._window = getattr(body.config, "sliding_window", None) or sys.maxsize

    def __call__(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Any = None,
        **others: Any,
    ) -> Any:
        few_more = isinstance(past_key_values, BatchCache) and input_ids.shape[1] <= _FEW
        if not few_more or attention_mask.shape[1] > self._window:
            return self._library(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=position_ids,
                past_key_values=past_key_values,
                **others,
            )
        body = self._body
        states = body.embed_tokens(input_ids)
        count, columns = input_ids.shape[1], attention_mask.shape[1]
        mask = attention_mask[:, None, None, :]
        if count > 1:
            whole = torch.ones(count, columns, dtype=torch.bool, device=mask.device)
            mask = mask & whole.tril(columns - count)
        elif bool(attention_mask.all()):
            mask = None
        positions = body.rotary_emb(states, position_ids)
        for layer in body.layers:
            states = layer(states, mask, positions, past_key_values)
        return BaseModelOutputWithPast(last_hidden_state=body.norm(states), past_key_values=past_key_values)


def _difference(expected: torch.Tensor, found: torch.Tensor) -> float:
    spread = float(expected.std()) or 1.0
    return float((expected - found).abs().max()) / spread
