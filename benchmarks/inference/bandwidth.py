"""How fast this machine, or its GPU, reads memory: no single stream of tokens can be faster than its weights."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

# Far more than any cache holds.
_BYTES = 2**30
# Neighbours take from memory for moments. What is compared with this goes on for many of them.
_SECONDS = 3.0


def read_bandwidth() -> float:
    """Bytes a second over some seconds: the better of a sum, and of packed matrices times one vector.

    Which of the two is faster depends on the processor, and a floor has to be the best that is known. Where there is
    a GPU it is its memory's, of a sum.
    """
    if torch.cuda.is_available():
        return _sustained(_sum("cuda"))
    reads = [_sum("cpu"), _packed_product(torch.float32), _packed_product(torch.bfloat16)]
    return max(_sustained(read) for read in reads if read is not None)


def _sum(device: str) -> Callable[[], object]:
    values = torch.ones(_BYTES // 4, device=device)
    return lambda: values.sum().item()  # which a GPU has to be waited for


def _packed_product(dtype: torch.dtype) -> Callable[[], object] | None:
    """One vector through layers of a language model's size whose weights oneDNN has reordered."""
    if dtype is torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return None
    side = 4096
    matrix = torch.ones(side, side, dtype=dtype)
    count = _BYTES // (matrix.element_size() * side * side)
    packed = [torch.ops.mkldnn._reorder_linear_weight(matrix, 1) for _ in range(count)]
    vector = torch.ones(1, side, dtype=dtype)

    def read() -> None:
        for weight in packed:
            torch.ops.mkldnn._linear_pointwise(vector, weight, None, "none", [], "")

    return read


@torch.inference_mode()
def _sustained(read: Callable[[], object]) -> float:
    read()
    reads, began = 0, time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        read()
        reads += 1
    return reads * _BYTES / (time.perf_counter() - began)
