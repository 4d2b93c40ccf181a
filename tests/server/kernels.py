"""What tests of the compiled kernels share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from berth_inference.kernels.library import Unavailable, load


def unavailable() -> str | None:
    try:
        load()
    except Unavailable as reason:
        return str(reason)
    return None


needs_kernels = pytest.mark.skipif(unavailable() is not None, reason=f"{unavailable()}")


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
