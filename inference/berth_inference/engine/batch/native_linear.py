"""Linear layers whose products are Berth's own, where these are faster than oneDNN's."""

from __future__ import annotations

import functools
import logging
import math
import time

import torch

from berth_inference.engine.batch.joined_linear import JoinedLinear
from berth_inference.engine.batch.packed_linear import PackedLinear, can_pack
from berth_inference.kernels.library import Unavailable, load
from berth_inference.kernels.products import fits, laid_out, product

_log = logging.getLogger(__name__)

# Rows for which both are timed: decoding alone, a batch in full swing, part of a prompt.
_TIMED_ROWS = (1, 16, 64)
# 16 MiB: weights that come from beyond the caches of a core.
_TIMED_IN, _TIMED_OUT = 2048, 4096
# The fastest counts: neighbours only ever make it slower.
_TIMES = 3


class NativeLinear(torch.nn.Module):
    """`torch.nn.Linear` in bfloat16 on a CPU. Has no `weight`: nothing may read it as a matrix."""

    def __init__(self, linear: torch.nn.Linear | JoinedLinear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._weights = laid_out(linear.weight.detach())
        bias = linear.bias
        self._bias = None if bias is None else bias.detach().contiguous()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., in features) to (..., out features)."""
        flat = states.reshape(-1, self.in_features).contiguous()
        result = product(flat, self._weights, self._bias)
        return result.view(*states.shape[:-1], self.out_features)


def native_or_packed(linear: torch.nn.Linear | JoinedLinear) -> torch.nn.Module:
    """Berth's own where the layer's size allows it; the layer itself where neither can compute it."""
    if fits(linear.in_features, linear.out_features):
        return NativeLinear(linear)
    return PackedLinear(linear) if can_pack(torch.bfloat16) else linear


@functools.cache
@torch.inference_mode()
def native_pays() -> bool:
    """Whether this processor computes Berth's own products, and faster than oneDNN does, over all timed rows.

    On one with matrix units (AMX) it does not: oneDNN uses them, and prompts take a fraction of the time. On one
    without AVX-512 nothing is timed: oneDNN computes no bfloat16 there, and torch's own products take many times as
    long.
    """
    try:
        load()
    except Unavailable as reason:
        _log.info("linear layers are oneDNN's: %s", reason)
        return False
    if not can_pack(torch.bfloat16):
        _log.info("linear layers are Berth's own: oneDNN computes no bfloat16 on this processor")
        return True
    # Random weights for a layer of this size would take longer to draw than all of the timing.
    linear = torch.nn.Linear(1, 1, bias=False)
    linear.in_features, linear.out_features = _TIMED_IN, _TIMED_OUT
    linear.weight = torch.nn.Parameter(torch.ones(_TIMED_OUT, _TIMED_IN, dtype=torch.bfloat16))
    native, packed = NativeLinear(linear), PackedLinear(linear)
    ratios = {}
    for rows in _TIMED_ROWS:
        states = torch.ones(rows, _TIMED_IN, dtype=torch.bfloat16)
        ours, theirs = _fastest(states, native, packed)
        ratios[rows] = theirs / ours
    _log.info(
        "Berth's own products against oneDNN's: %s",
        ", ".join(f"{ratio:.2f} times as fast for {rows} rows" for rows, ratio in ratios.items()),
    )
    return math.prod(ratios.values()) > 1


def _fastest(states: torch.Tensor, *layers: torch.nn.Module) -> list[float]:
    """Seconds of each, by turns, so that a slow moment of the machine meets all of them."""
    times: list[list[float]] = [[] for _ in layers]
    for _ in range(_TIMES):
        for layer, taken in zip(layers, times, strict=True):
            started = time.perf_counter()
            layer(states)
            taken.append(time.perf_counter() - started)
    return [min(taken) for taken in times]
