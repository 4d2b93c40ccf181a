"""What a decoder layer computes of each number by itself, in bfloat16, by pointwise.c."""

from __future__ import annotations

import ctypes
import functools

import torch

from berth_inference.kernels.library import TEAM_FIELDS, load

# Sizes are multiples of it, and how much of a head is turned of the other.
UNIT, TURNED_UNIT = 16, 32
# Fewer are done by the time that a second thread has begun.
_NUMBERS_FOR_A_TEAM = 32_768


class _Norm(ctypes.Structure):
    """`struct norm` in pointwise.c."""

    _fields_ = [
        *TEAM_FIELDS,
        *((name, ctypes.c_void_p) for name in ("states", "weights", "result")),
        *((name, ctypes.c_int64) for name in ("rows", "size")),
        ("epsilon", ctypes.c_float),
    ]


class _Gate(ctypes.Structure):
    """`struct gate` in pointwise.c."""

    _fields_ = [
        *TEAM_FIELDS,
        *((name, ctypes.c_void_p) for name in ("states", "result")),
        *((name, ctypes.c_int64) for name in ("rows", "size")),
    ]


class _Rotation(ctypes.Structure):
    """`struct rotation` in pointwise.c."""

    _fields_ = [
        *TEAM_FIELDS,
        *((name, ctypes.c_void_p) for name in ("states", "cosines", "sines")),
        *((name, ctypes.c_int64) for name in ("tokens", "token", "heads", "size", "turned")),
    ]


def norm(states: torch.Tensor, weights: torch.Tensor, epsilon: float) -> torch.Tensor:
    """(..., size) over its root mean square and times `weights`. `size` is a multiple of UNIT. Raises Unavailable."""
    states = states.contiguous()
    result = torch.empty_like(states)
    size = states.shape[-1]
    library = load()
    pointers = (states.data_ptr(), weights.data_ptr(), result.data_ptr())
    job = _Norm(*library.team, *pointers, states.numel() // size, size, epsilon)
    library.run(_function("berth_norm"), job, _alone(states))
    return result


def gate(states: torch.Tensor) -> torch.Tensor:
    """(..., 2 x size), contiguous, to (..., size): the second half as far as silu of the first lets it through.

    `size` is a multiple of UNIT. Raises Unavailable.
    """
    size = states.shape[-1] // 2
    result = torch.empty(*states.shape[:-1], size, dtype=torch.bfloat16)
    library = load()
    job = _Gate(*library.team, states.data_ptr(), result.data_ptr(), result.numel() // size, size)
    library.run(_function("berth_gate"), job, _alone(states))
    return result


def rotate(states: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> None:
    """Turn the heads of (rows, tokens, heads, size) in place. Tokens may lie further apart than their heads need.

    Cosines and sines are (rows or 1, tokens, 1, turned), the first half of the sines negated. `turned` is a multiple of
    TURNED_UNIT: so many numbers of each head are turned. Raises Unavailable.
    """
    rows, tokens, heads, size = states.shape
    turned = cosines.shape[-1]
    cosines, sines = (one.expand(rows, tokens, 1, turned).contiguous() for one in (cosines, sines))
    library = load()
    pointers = (states.data_ptr(), cosines.data_ptr(), sines.data_ptr())
    job = _Rotation(*library.team, *pointers, rows * tokens, states.stride(1), heads, size, turned)
    library.run(_function("berth_rotate"), job, _alone(states))


def _alone(states: torch.Tensor) -> bool:
    return states.numel() < _NUMBERS_FOR_A_TEAM


@functools.cache
def _function(name: str) -> ctypes.c_void_p:
    return load().function(name)
