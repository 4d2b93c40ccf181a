"""Attention in bfloat16, by attention.c."""

from __future__ import annotations

import ctypes
import functools

import torch

from berth_inference.kernels.library import TEAM_FIELDS, load

# MOST_SIZE in attention.c.
_MOST_SIZE = 256


class _Job(ctypes.Structure):
    """`struct attention` in attention.c."""

    _fields_ = [
        *TEAM_FIELDS,
        *((name, ctypes.c_void_p) for name in ("queries", "keys", "values", "mask", "result")),
        *(
            (name, ctypes.c_int64)
            for name in ("rows", "heads", "groups", "tokens", "columns", "size", "causal")
        ),
        *((name, ctypes.c_int64) for name in ("query_row", "query_head", "query_token")),
        *((name, ctypes.c_int64) for name in ("key_row", "key_head", "key_column")),
        *((name, ctypes.c_int64) for name in ("value_row", "value_head", "value_column")),
        *((name, ctypes.c_int64) for name in ("mask_row", "mask_token")),
        ("scale", ctypes.c_float),
    ]


def fits(size: int) -> bool:
    """Whether heads of that size can be computed."""
    return size % 16 == 0 and size <= _MOST_SIZE


def attention(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    scale: float,
    causal: bool = False,
) -> torch.Tensor:
    """What `scaled_dot_product_attention` computes, as (rows, tokens, heads, size).

    Queries are (rows, heads, tokens, size), keys and values (rows, groups of heads, columns, size), all bfloat16 on the
    CPU. `mask` is bool, (rows or 1, 1, tokens or 1, columns), True for what a query attends to; without one, and if
    `causal`, it is the columns up to its own. Raises Unavailable.
    """
    queries, keys, values = (
        one if one.stride(3) == 1 else one.contiguous() for one in (queries, keys, values)
    )
    rows, heads, tokens, size = queries.shape
    groups, columns = keys.shape[1], keys.shape[2]
    result = torch.empty(rows, tokens, heads, size, dtype=torch.bfloat16)
    of_mask: tuple[int | None, int, int] = (None, 0, 0)
    if mask is not None:
        mask = mask.expand(rows, 1, tokens, columns)
        if mask.stride(3) != 1:
            mask = mask.contiguous()
        of_mask = (mask.data_ptr(), mask.stride(0), mask.stride(2))
    library = load()
    job = _Job(
        *library.team,
        *(queries.data_ptr(), keys.data_ptr(), values.data_ptr(), of_mask[0], result.data_ptr()),
        *(rows, heads, groups, tokens, columns, size, causal),
        *queries.stride()[:3],
        *keys.stride()[:3],
        *values.stride()[:3],
        *of_mask[1:],
        scale,
    )
    library.run(_function(), job)
    return result


@functools.cache
def _function() -> ctypes.c_void_p:
    return load().function("berth_attention")
