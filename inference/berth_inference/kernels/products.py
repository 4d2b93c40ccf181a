"""Products of linear layers in bfloat16, by products.c."""

from __future__ import annotations

import ctypes
import functools
import threading

import torch

from berth_inference.kernels.library import TEAM_FIELDS, load

# PANEL in products.c.
_MOST_SPREAD = 192
# Columns in a block, and numbers of a column that lie side by side.
_COLUMNS, _PAIR = 16, 2


class _Job(ctypes.Structure):
    """`struct product` in products.c."""

    _fields_ = [
        *TEAM_FIELDS,
        *((name, ctypes.c_void_p) for name in ("weights", "bias", "states", "spread", "result")),
        *((name, ctypes.c_int64) for name in ("rows", "inputs", "outputs")),
    ]


def fits(inputs: int, outputs: int) -> bool:
    """Whether a layer of these sizes can be computed. Those of nearly all models can."""
    return inputs % _PAIR == 0 and outputs % _COLUMNS == 0


def laid_out(weights: torch.Tensor) -> torch.Tensor:
    """A copy of (out, in) in bfloat16, as products.c reads it: (out / 16, in / 2, 16) of two numbers each."""
    outputs, inputs = weights.shape
    pairs = weights.contiguous().view(torch.int32)
    return pairs.view(outputs // _COLUMNS, _COLUMNS, inputs // _PAIR).transpose(1, 2).contiguous()


def product(states: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """What `torch.nn.functional.linear` computes: (rows, in) to (rows, out), from weights that are laid out.

    All bfloat16, on the CPU and contiguous. What a row comes to does not depend on the others, to the last bit.
    Raises Unavailable.
    """
    rows, inputs = states.shape
    outputs = weights.shape[0] * _COLUMNS
    result = torch.empty(rows, outputs, dtype=torch.bfloat16)
    tensors = (weights, bias, states, _spread(min(rows, _MOST_SPREAD) * inputs), result)
    pointers = (None if tensor is None else tensor.data_ptr() for tensor in tensors)
    library = load()
    library.run(_function(), _Job(*library.team, *pointers, rows, inputs, outputs))
    return result


class _Room(threading.local):
    """Kept, because memory that is new to a process is slow to write to."""

    spread = torch.empty(0)


_room = _Room()


def _spread(numbers: int) -> torch.Tensor:
    if _room.spread.numel() < numbers:
        _room.spread = torch.empty(numbers)
    return _room.spread


@functools.cache
def _function() -> ctypes.c_void_p:
    return load().function("berth_product")
