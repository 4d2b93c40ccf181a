"""How fast this machine, or its GPU, reads memory: no single stream of tokens can be faster than its weights."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

# Far more than any cache holds.
_BYTES = 2**30
_TRIES = 5


def read_bandwidth() -> float:
    """Bytes a second: the best of a sum, and of a packed matrix times one vector, over a gibibyte each.

    Which of the two is faster depends on the processor, and a floor has to be the best that is known. Where there is
    a GPU it is its memory's, of a sum.
    """
    if torch.cuda.is_available():
        return _BYTES / _shortest(_sum("cuda"))
    reads = [_sum("cpu"), _packed_product(torch.float32), _packed_product(torch.bfloat16)]
    return max(_BYTES / _shortest(read) for read in reads if read is not None)


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
def _shortest(read: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(_TRIES):
        began = time.perf_counter()
        read()
        best = min(best, time.perf_counter() - began)
    return best
