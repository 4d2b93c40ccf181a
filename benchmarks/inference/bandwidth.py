"""How fast this machine reads memory: no single stream of tokens can be faster than its weights."""

from __future__ import annotations

import time

import torch

# Far more than any cache holds.
_BYTES = 2**30


def read_bandwidth() -> float:
    """Bytes a second, the best of several reads of one gibibyte with all threads."""
    values = torch.ones(_BYTES // 4)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        values.sum()
        best = min(best, time.perf_counter() - began)
    return _BYTES / best
