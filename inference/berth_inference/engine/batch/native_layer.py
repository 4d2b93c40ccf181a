"""A fused layer that computes what is between its products in C, where the sizes of its parts allow it."""

from __future__ import annotations

from typing import Any

import torch

from berth_inference.engine.batch.fused_layer import FusedLayer
from berth_inference.kernels import attention, pointwise

# What transformers calls silu, the one activation that is there in C.
_SILU = {"SiLU", "SiLUActivation"}


class NativeLayer(FusedLayer):
    """For bfloat16 on a CPU, in place of `sdpa`.

    Rounds where torch's operators do, but for attention, which rounds less.
    """

    def _turned(self, states: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
        if cosines.shape[-1] % pointwise.TURNED_UNIT:
            return super()._turned(states, cosines, sines)
        pointwise.rotate(states, cosines, sines)
        return states

    def _attended(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        causal = mask is None and queries.shape[2] > 1 and self.is_causal
        known = not causal or queries.shape[2] == keys.shape[2]
        if mask is not None:
            known = mask.dtype is torch.bool and mask.shape[1] == 1
        if not known or not attention.fits(self._size):
            return super()._attended(queries, keys, values, mask)
        scale = self._options["scaling"]
        return attention.attention(queries, keys, values, mask, scale=scale, causal=causal)

    def _gated(self, states: torch.Tensor) -> torch.Tensor:
        if type(self.activation).__name__ not in _SILU or states.shape[-1] % (2 * pointwise.UNIT):
            return super()._gated(states)
        return pointwise.gate(states)

    def _norm(self, norm: Any) -> torch.nn.Module:
        fits = hasattr(norm, "variance_epsilon") and norm.weight.numel() % pointwise.UNIT == 0
        return _NativeNorm(norm) if fits else super()._norm(norm)


class _NativeNorm(torch.nn.Module):
    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self._epsilon = norm.weight, norm.variance_epsilon

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., size) to the same."""
        return pointwise.norm(states, self.weight, self._epsilon)
