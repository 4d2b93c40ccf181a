"""The OpenMP runtime that torch's threads are of, for what torch itself offers no way to ask of it."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch  # noqa: F401 - loads it

_MAPS = Path("/proc/self/maps")


def loaded() -> ctypes.CDLL | None:
    """The one that this process has loaded; None where torch comes with another one."""
    try:
        path = next(line.split()[-1] for line in _MAPS.read_text().splitlines() if "libgomp" in line)
        return ctypes.CDLL(path)
    except (OSError, StopIteration):
        return None
