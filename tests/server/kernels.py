"""What tests of the compiled kernels share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from berth_inference.kernels.library import Unavailable, load


def _lacking() -> str | None:
    """What this machine lacks for them. Where they were only not compiled, the tests fail instead of being skipped."""
    try:
        load()
    except Unavailable as reason:
        could_not_be_loaded = reason.__cause__ is not None
        return None if could_not_be_loaded else str(reason)
    return None


needs_kernels = pytest.mark.skipif(_lacking() is not None, reason=f"{_lacking()}")


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
