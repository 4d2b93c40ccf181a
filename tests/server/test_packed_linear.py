"""Packed weights: the same results, and few kernels however many lengths there are."""

from __future__ import annotations

import pytest
import torch

from berth_inference.engine.batch.packed_linear import PackedLinear, padded


def test_rows_are_padded_by_an_eighth_at_most_and_to_few_numbers() -> None:
    for rows in range(1, 3000):
        assert rows <= padded(rows) <= rows + rows // 8
        assert padded(padded(rows)) == padded(rows)
    assert [padded(rows) for rows in (1, 7, 15, 16, 17, 200)] == [1, 7, 15, 16, 18, 208]
    assert len({padded(rows) for rows in range(1, 257)}) < 50


@pytest.mark.parametrize("shape", [(1, 1, 24), (16, 1, 24), (1, 17, 24), (1, 200, 24), (3, 19, 24)])
@torch.inference_mode()
def test_a_packed_layer_computes_what_the_layer_did_for_any_number_of_rows(shape: tuple[int, ...]) -> None:
    layer = torch.nn.Linear(24, 40)
    states = torch.randn(shape)
    assert torch.allclose(PackedLinear(layer)(states), layer(states), atol=1e-5)
