"""Attention in C: what torch computes, whatever is masked, and the same for a query whatever it is computed with."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from berth_inference.kernels.attention import attention, fits
from server.kernels import needs_kernels, threads

pytestmark = needs_kernels


@dataclass(frozen=True)
class Case:
    rows: int
    heads: int
    groups: int
    tokens: int
    columns: int
    size: int


CASES = [
    Case(rows=1, heads=1, groups=1, tokens=1, columns=1, size=16),
    Case(rows=1, heads=12, groups=4, tokens=1, columns=50, size=64),
    Case(rows=3, heads=12, groups=4, tokens=1, columns=301, size=64),
    Case(rows=2, heads=32, groups=2, tokens=5, columns=140, size=32),
    Case(rows=2, heads=8, groups=8, tokens=3, columns=133, size=80),
    Case(rows=1, heads=6, groups=1, tokens=97, columns=260, size=256),
    Case(rows=2, heads=4, groups=2, tokens=128, columns=128, size=128),
]


def inputs(case: Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries as a product gives them, and keys and values as a cache with room for more gives them."""
    generator = torch.Generator().manual_seed(case.columns)
    queries = torch.randn(case.rows, case.tokens, case.heads + 1, case.size, generator=generator).bfloat16()
    held = torch.randn(
        2, case.rows + 1, case.groups, case.columns + 9, case.size, generator=generator
    ).bfloat16()
    keys, values = held[:, : case.rows, :, : case.columns]
    return queries[:, :, 1:].transpose(1, 2), keys, values


def causal(case: Case) -> torch.Tensor:
    """Every token attends to what is before it: (rows, 1, tokens, columns)."""
    whole = torch.ones(case.rows, 1, case.tokens, case.columns, dtype=torch.bool)
    return whole.tril(case.columns - case.tokens)


def padded(case: Case) -> torch.Tensor:
    """Rows of different lengths, aligned at their ends."""
    mask = causal(case)
    for row in range(case.rows):
        mask[row, :, :, : (case.columns - case.tokens) * row // case.rows] = False
    return mask


def windowed(case: Case) -> torch.Tensor:
    return causal(case).triu(case.columns - case.tokens - 17)


def with_gaps(case: Case) -> torch.Tensor:
    mask = causal(case)
    mask[..., 1::3] = False
    return mask


def of_no_token(case: Case) -> torch.Tensor:
    """The same for all tokens, as of a step of one."""
    return padded(case)[:, :, -1:]


@pytest.mark.parametrize("team", [1, 3])
@pytest.mark.parametrize("mask_of", [causal, padded, windowed, with_gaps, of_no_token])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_attended_to_is_weighed_as_torch_weighs_it(case: Case, mask_of: object, team: int) -> None:
    assert callable(mask_of)
    mask = mask_of(case)
    queries, keys, values = inputs(case)
    exact = scaled_dot_product_attention(
        queries.double(), keys.double(), values.double(), mask, enable_gqa=True, scale=0.3
    )
    with threads(team):
        found = attention(queries, keys, values, mask, scale=0.3)
    assert found.shape == (case.rows, case.tokens, case.heads, case.size)
    # Half the distance between two neighbours in bfloat16, and what float32 loses.
    allowed = exact.abs() * 2**-8 + 1e-4
    assert bool(((found.transpose(1, 2).double() - exact).abs() <= allowed).all())


def test_without_a_mask_all_is_attended_to_or_what_is_not_later() -> None:
    case = CASES[-1]
    queries, keys, values = inputs(case)
    everything = torch.ones_like(causal(case))
    for is_causal, mask in ((True, causal(case)), (False, everything)):
        expected = attention(queries, keys, values, mask, scale=1)
        assert torch.equal(attention(queries, keys, values, None, scale=1, causal=is_causal), expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_query_comes_to_the_same_bits_in_any_part_of_a_prompt_and_in_any_batch(case: Case) -> None:
    queries, keys, values = inputs(case)
    mask = padded(case)
    whole = attention(queries, keys, values, mask, scale=0.3)
    for row in range(case.rows):
        for token in range(case.tokens):
            alone = attention(
                *(one[row : row + 1] for one in (queries[:, :, token : token + 1], keys, values)),
                mask[row : row + 1, :, token : token + 1],
                scale=0.3,
            )
            assert torch.equal(alone[0, 0], whole[row, token])


def test_large_scores_and_large_numbers_where_nobody_looks_change_nothing() -> None:
    case = CASES[2]
    queries, keys, values = inputs(case)
    mask = padded(case)
    expected = attention(queries, keys, values, mask, scale=40)
    assert bool(expected.isfinite().all())
    for row in range(case.rows):
        hidden = ~mask[row, 0, 0]
        keys[row, :, hidden], values[row, :, hidden] = 3e38, -3e38
    assert torch.equal(attention(queries, keys, values, mask, scale=40), expected)


def test_a_query_that_attends_to_nothing_gets_zeros() -> None:
    case = CASES[1]
    mask = torch.zeros_like(causal(case))
    assert not bool(attention(*inputs(case), mask, scale=1).any())


def test_what_is_no_number_is_not_hidden() -> None:
    case = CASES[2]
    queries, keys, values = inputs(case)
    keys[1, 0, -1] = float("nan")
    found = attention(queries, keys, values, causal(case), scale=1)
    assert bool(found[1, :, :3].isnan().all())
    assert bool(found[0].isfinite().all())
    assert bool(found[2].isfinite().all())


def test_which_sizes_of_heads_fit() -> None:
    assert all(fits(size) for size in (16, 64, 80, 96, 128, 256))
    assert not any(fits(size) for size in (8, 72, 272))
