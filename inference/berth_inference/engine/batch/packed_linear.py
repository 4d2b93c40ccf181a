"""Linear layers whose weights lie in memory as the processor's matrix kernels want them.

torch's own linear layer reads a weight as it is stored, at about half the memory bandwidth when few
rows share it, which is what decoding does. oneDNN can reorder a weight once, at load, and then reads
it at full speed. torch uses this in compiled models only; here it is used without a compiler, through
the same two operators. They are internal to torch, so nothing is taken for granted: a layer of each
shape, and then the whole model, must compute what they did before, or everything stays as it was.
"""

from __future__ import annotations

import logging
from typing import Any

import torch

from berth_inference.engine.batch.joined_linear import JoinedLinear

_log = logging.getLogger(__name__)

# Rows that the reordered weights are laid out for: a batch in full swing. Others work as well.
_ROWS = 16
# Rows with which the layers are tried: decoding alone, an odd batch, part of a prompt.
_TRIED_ROWS = (1, 5, 33)
# Largest difference as a share of the largest value. float32 kernels sum in another order; bfloat16
# results are rounded to 8 bits, so that neighbours differ by up to 1/128.
_LAYER_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2**-6}
# Over a whole model the roundings of all layers add up.
_MODEL_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}


class PackedLinear(torch.nn.Module):
    """`torch.nn.Linear` for inference on a CPU. Has no `weight`: nothing may read it as a matrix."""

    def __init__(self, linear: torch.nn.Linear | JoinedLinear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        bias = linear.bias
        self._bias = None if bias is None else bias.detach()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., in features) to (..., out features)."""
        rows = states.shape[:-1].numel()
        flat = states.reshape(rows, self.in_features)
        if added := padded(rows) - rows:
            flat = torch.nn.functional.pad(flat, (0, 0, 0, added))
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            flat, self._packed, self._bias, "none", [], ""
        )
        if added:
            result = result[:rows]
        return result.view(*states.shape[:-1], self.out_features)


def padded(rows: int) -> int:
    """A number of rows at most an eighth larger, of which there are few.

    oneDNN compiles a kernel for each number of rows and keeps it: half a mebibyte each, and prompts come
    in all lengths. Kernels for every length from 1 to 256 of four layers' shapes took 600 MiB.
    """
    step = max(1, (1 << (rows.bit_length() - 1)) // 8)
    return -(-rows // step) * step


@torch.inference_mode()
def pack(model: Any) -> int:
    """Replace a model's linear layers; returns how many. 0 where that cannot be done or is not exact."""
    tolerance = _LAYER_TOLERANCE.get(model.dtype)
    if model.device.type != "cpu" or tolerance is None or not _supported(model.dtype):
        return 0
    prompt = torch.arange(7)[None] % model.config.get_text_config().vocab_size
    replaced: list[tuple[Any, str, Any]] = []
    try:
        before = model(prompt, use_cache=False).logits.float()
        tried: set[tuple[int, int, bool]] = set()
        for parent in list(model.modules()):
            for name, layer in list(parent.named_children()):
                if _dtype(layer) is not model.dtype:
                    continue
                packed = PackedLinear(layer)
                shape = (layer.in_features, layer.out_features, layer.bias is not None)
                if shape not in tried and not _agree(layer, packed, tolerance):
                    raise _Differs(f"a layer of {shape[0]} by {shape[1]}")
                tried.add(shape)
                setattr(parent, name, packed)
                replaced.append((parent, name, layer))
        after = model(prompt, use_cache=False).logits.float()
        if not _close(before, after, _MODEL_TOLERANCE[model.dtype]):
            raise _Differs("the model")
    except (RuntimeError, AttributeError, TypeError, _Differs) as error:
        _log.warning("weights stay as they are stored, which is slower: %s: %s", type(error).__name__, error)
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
    """Packed weights do not compute the same."""


def _supported(dtype: torch.dtype) -> bool:
    if not torch._C._has_mkldnn or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return False
    return dtype is torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _agree(layer: Any, packed: PackedLinear, tolerance: float) -> bool:
    generator = torch.Generator().manual_seed(0)
    for rows in _TRIED_ROWS:
        states = torch.randn(1, rows, layer.in_features, generator=generator).to(_dtype(layer))
        if not _close(layer(states), packed(states), tolerance):
            return False
    return True


def _close(expected: torch.Tensor, found: torch.Tensor, tolerance: float) -> bool:
    largest = float(expected.abs().max())
    return float((expected.float() - found.float()).abs().max()) <= tolerance * largest
