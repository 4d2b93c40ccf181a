"""The candidate sampler leaves what transformers' own warpers leave, and draws what `generate` draws."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from berth_inference.engine.batch.candidates import Narrowing, candidates


def oracle(logits: torch.Tensor, row: Narrowing) -> torch.Tensor:
    """What `generate` would sample from, (vocabulary)."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(row.temperature)])
    if row.top_k:
        warpers.append(TopKLogitsWarper(row.top_k))
    if row.top_p < 1:
        warpers.append(TopPLogitsWarper(row.top_p))
    if row.min_p:
        warpers.append(MinPLogitsWarper(row.min_p))
    return warpers(None, logits[None].clone())[0]


def random_row(source: random.Random) -> Narrowing:
    while True:
        row = Narrowing(
            source.choice([1.0, 0.7, 1.5, 0.2]),
            source.choice([0, 1, 5, 10, 50]),
            source.choice([1.0, 0.9, 0.5, 0.99, 0.05]),
            source.choice([0.0, 0.0, 0.05, 0.3]),
        )
        if row.bounded:
            return row


@pytest.mark.parametrize("vocabulary", [40, 300, 5000])
@pytest.mark.parametrize("spread", [1.0, 8.0], ids=["even odds", "sharp odds"])
def test_what_is_left_to_choose_from_is_what_transformers_leaves(vocabulary: int, spread: float) -> None:
    source = random.Random(f"{vocabulary} {spread}")
    generator = torch.Generator().manual_seed(1)
    for _ in range(60):
        rows = [random_row(source) for _ in range(source.randint(1, 5))]
        logits = torch.randn(len(rows), vocabulary, generator=generator) * spread
        found = candidates(logits.clone(), rows)
        for index, row in enumerate(rows):
            left = torch.full((vocabulary,), -torch.inf)
            left[found.tokens[index]] = found.logits[index]
            assert torch.equal(left, oracle(logits[index], row)), row


def test_tokens_as_likely_as_the_last_of_top_k_are_kept_with_it() -> None:
    logits = torch.zeros(1, 2000)
    logits[0, 7] = 1.0
    found = candidates(logits, [Narrowing(1.0, 3, 1.0, 0.0)])
    assert int(found.logits.isfinite().sum()) == 2000


def test_rows_of_a_step_do_not_disturb_each_other() -> None:
    source = random.Random(3)
    rows = [random_row(source) for _ in range(16)]
    logits = torch.randn(16, 1000, generator=torch.Generator().manual_seed(2)) * 4
    together = candidates(logits.clone(), rows)
    for index, row in enumerate(rows):
        alone = candidates(logits[index : index + 1].clone(), [row])
        kept = together.logits[index].isfinite()
        lone = alone.logits[0].isfinite()
        assert sorted(together.tokens[index][kept].tolist()) == sorted(alone.tokens[0][lone].tolist())


@pytest.mark.parametrize("rows", [1, 4])
def test_multinomial_draws_as_the_sampler_assumes(rows: int) -> None:
    odds = torch.randn(rows, 1000, generator=torch.Generator().manual_seed(4)).softmax(-1)
    drawn = torch.multinomial(odds, 1, generator=torch.Generator().manual_seed(9))[:, 0]
    noise = torch.empty(rows, 1000).exponential_(1, generator=torch.Generator().manual_seed(9))
    assert torch.equal(drawn, (odds / noise).argmax(-1))
