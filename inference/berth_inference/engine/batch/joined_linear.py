"""Several linear layers that read the same states, as one."""

from __future__ import annotations

import torch
from torch.nn.functional import linear


class JoinedLinear(torch.nn.Module):
    """Several linear layers of one input as one, without a copy of their weights.

    Packing replaces it by a single matrix. Until then, and where nothing is packed, each computes
    its part. `weight` and `bias` are put together anew at every access.
    """

    def __init__(self, parts: tuple[torch.nn.Linear, ...]) -> None:
        super().__init__()
        # Out of torch's sight: whoever replaces linear layers shall replace this one, not its parts.
        self._parts = parts
        self.in_features = parts[0].in_features
        self.out_features = sum(part.out_features for part in parts)

    @property
    def weight(self) -> torch.Tensor:
        """(out features, in features)."""
        return torch.cat([part.weight for part in self._parts])

    @property
    def bias(self) -> torch.Tensor | None:
        """(out features,), None without one."""
        if self._parts[0].bias is None:
            return None
        return torch.cat([part.bias for part in self._parts])

    @property
    def dtype(self) -> torch.dtype:
        """The weights' number type."""
        return self._parts[0].weight.dtype

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., in features) to (..., out features)."""
        return torch.cat([linear(states, part.weight, part.bias) for part in self._parts], dim=-1)
