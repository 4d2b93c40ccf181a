"""Norms, gates and rotations in C: the bits that torch's operators give."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import rms_norm, silu

from berth_inference.kernels import pointwise
from server.kernels import needs_kernels, threads

pytestmark = needs_kernels

SHAPES = [(1, 1, 16), (3, 1, 48), (2, 300, 768)]


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).bfloat16()


@pytest.mark.parametrize("team", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_norm(shape: tuple[int, ...], team: int) -> None:
    states, weights = random(*shape) * 7, random(shape[-1])
    expected = rms_norm(states, shape[-1:], eps=1e-5) * weights
    with threads(team):
        found = pointwise.norm(states, weights, 1e-5)
    # Sums in another order may differ in the last bit of float32, and tip a rounding over once in a long while.
    assert int((found != expected).sum()) <= found.numel() // 10_000
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=0)


def test_a_norm_of_states_that_do_not_lie_side_by_side() -> None:
    states, weights = random(4, 6, 32), random(32)
    expected = pointwise.norm(states[:, -1:].clone(), weights, 1e-5)
    assert torch.equal(pointwise.norm(states[:, -1:], weights, 1e-5), expected)


def test_a_gate_for_every_number_there_is() -> None:
    gates = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    passed = random(2**16)
    expected = silu(gates) * passed
    found = pointwise.gate(torch.cat([gates, passed]).view(1, -1))[0]
    different = (found != expected) & ~(found.isnan() & expected.isnan())
    # Below -88 the power of e that torch divides by is infinite: it lets nothing through instead of hardly anything.
    assert bool((gates[different] < -88).all())
    assert float(found[different].abs().max()) < 1e-35


@pytest.mark.parametrize("team", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_gates_of_many_rows(shape: tuple[int, ...], team: int) -> None:
    states = random(*shape[:-1], 2 * shape[-1]) * 5
    gate, passed = states.chunk(2, dim=-1)
    with threads(team):
        assert torch.equal(pointwise.gate(states), silu(gate) * passed)


@pytest.mark.parametrize("team", [1, 3])
@pytest.mark.parametrize(("turned", "size"), [(32, 32), (64, 64), (32, 80), (64, 96)])
@pytest.mark.parametrize(("rows", "tokens", "of_rows"), [(1, 1, 1), (3, 2, 3), (3, 2, 1), (2, 90, 2)])
def test_a_rotation_turns_some_heads_in_place_and_touches_nothing_else(
    turned: int, size: int, rows: int, tokens: int, of_rows: int, team: int
) -> None:
    parts = random(rows, tokens, 7, size)
    cosines, sines = random(of_rows, tokens, 1, turned), random(of_rows, tokens, 1, turned) * 3
    expected = parts.clone()
    first = expected[:, :, :5, :turned].clone()
    expected[:, :, :5, :turned] = first * cosines + first.roll(turned // 2, -1) * sines
    with threads(team):
        pointwise.rotate(parts[:, :, :5], cosines, sines)
    assert torch.equal(parts, expected)
