"""Linear layers whose weights lie in memory as the processor's matrix kernels want them.

torch's own linear layer reads a weight as it is stored, at about half the memory bandwidth when few
rows share it, which is what decoding does. oneDNN can reorder a weight once, at load, and then reads
it at full speed. torch uses this in compiled models only; here it is used without a compiler, through
the same two operators. They are internal to torch, so nothing is taken for granted: a layer of each
shape, and then the whole model, must compute what they did before, or everything stays as it was.
"""

from __future__ import annotations

import torch

from berth_inference.engine.batch.joined_linear import JoinedLinear

# Rows that the reordered weights are laid out for: a batch in full swing. Others work as well.
_ROWS = 16


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


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch and this processor do, for float32 or bfloat16."""
    if not torch._C._has_mkldnn or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return False
    return dtype is torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
