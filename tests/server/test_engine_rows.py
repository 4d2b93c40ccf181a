"""The buffers of a batch: what they hold, and what they take, whatever joins and leaves and wherever memory ends."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from berth_inference.engine.batch.kv_cache import Rows, Staging
from berth_inference.engine.batch.scheduler import COLUMN_STEP, round_columns, round_rows

LAYERS = 2


def staged(key: int, length: int) -> Staging:
    """A sequence whose token `i` has the key and value 1000 * key + i, in heads of one number."""
    staging = Staging(LAYERS, length)
    for layer in staging.cache.layers:
        layer.update(*[states(key, 0, length)] * 2)
    staging.columns = length
    return staging


def states(key: int, start: int, stop: int) -> torch.Tensor:
    return (1000.0 * key + torch.arange(start, stop)).reshape(1, 1, -1, 1)


class Sequences:
    """Plays scheduler and model: each sequence has a length that it never exceeds."""

    def __init__(self) -> None:
        self.rows = Rows(LAYERS)
        self.running: list[tuple[int, int]] = []  # key and longest, in the order of the rows

    @property
    def bound(self) -> int:
        return max((longest for _, longest in self.running), default=0)

    @property
    def rectangle(self) -> tuple[int, int]:
        return round_rows(len(self.running)), round_columns(self.bound)

    def join(self, key: int, length: int, longest: int) -> None:
        self.rows.insert(staged(key, length), bound=max(self.bound, longest))
        self.running.append((key, longest))

    def leave(self, index: int) -> None:
        self.rows.remove(index)
        self.running[index] = self.running[-1]
        self.running.pop()
        if not self.running:
            self.rows.empty()

    def step(self) -> None:
        """Everybody's next token; who has become as long as it may be leaves."""
        self.rows.make_room(self.bound)
        new = torch.cat(
            [
                states(key, length, length + 1)
                for (key, _), length in zip(self.running, self.rows.lengths, strict=True)
            ]
        )
        for layer in self.rows.cache.layers:
            layer.update(new, new)
        mask = self.rows.mask()
        self.rows.advance()
        for row, length in enumerate(self.rows.lengths):
            assert mask[row].sum() == length
        for index in reversed(range(len(self.running))):
            if self.rows.lengths[index] == self.running[index][1] - 1:
                self.leave(index)

    def check(self) -> None:
        end = self.rows.columns
        for layer in self.rows.cache.layers:
            for row, (key, _) in enumerate(self.running):
                length = self.rows.lengths[row]
                for buffer in (layer.keys, layer.values):
                    assert torch.equal(
                        buffer[row, 0, end - length : end, 0], states(key, 0, length).flatten()
                    )
                    assert buffer[row].isfinite().all()


@pytest.mark.parametrize("seed", range(8))
def test_whatever_joins_and_leaves_the_rows_keep_what_they_hold_and_no_more_than_is_reserved(
    seed: int,
) -> None:
    source = random.Random(seed)
    batch = Sequences()
    for key in range(60):
        if len(batch.running) < 9:
            length = source.choice([1, 5, 60, 300])
            batch.join(key, length, length + source.choice([2, 10, 100, 400]))
            batch.rows.trim(*batch.rectangle)  # as at every admission
            assert batch.rows.excess(*batch.rectangle) == 0
        for _ in range(source.choice([0, 1, 5, 50])):
            if batch.running:
                batch.step()
        if batch.running and source.random() < 0.4:
            batch.leave(source.randrange(len(batch.running)))
        batch.check()


def test_a_batch_that_was_wide_takes_a_long_row_at_what_it_costs_alone() -> None:
    batch = Sequences()
    for key in range(64):
        batch.join(key, 5, 100)
    for _ in range(63):
        batch.leave(0)
    batch.join(64, 2000, 2010)
    assert batch.rows.capacity == (2, round_columns(2001))
    batch.check()


def test_a_batch_that_was_long_takes_many_short_rows_at_what_they_cost_alone() -> None:
    batch = Sequences()
    batch.join(0, 2000, 2010)
    batch.join(1, 5, 100)
    batch.leave(0)
    for key in range(2, 20):
        batch.join(key, 5, 100)
    assert batch.rows.capacity[1] == COLUMN_STEP
    batch.check()


@pytest.mark.parametrize("allocations", range(5))
@pytest.mark.parametrize("what", ["a longer row joins", "a row joins", "a column more", "trimmed"])
def test_memory_that_ends_on_the_way_leaves_the_rows_as_they_were(
    what: str, allocations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Sequences()
    batch.join(0, 120, 500)
    batch.join(1, 100, 200)
    if what == "a column more":
        for _ in range(7):
            batch.step()
    elif what == "trimmed":
        for key in range(2, 8):
            batch.join(key, 5, 10)
        for _ in range(6):
            batch.leave(2)
    newcomer = staged(9, 300 if what == "a longer row joins" else 100)
    left = allocations

    def short_of_memory(allocate: Any) -> Any:
        def allocated(*arguments: Any, **named: Any) -> torch.Tensor:
            nonlocal left
            left -= 1
            if left < 0:
                raise MemoryError
            return allocate(*arguments, **named)  # type: ignore[no-any-return]

        return allocated

    with monkeypatch.context() as short:
        short.setattr(torch.Tensor, "new_zeros", short_of_memory(torch.Tensor.new_zeros))
        short.setattr(torch, "empty_like", short_of_memory(torch.empty_like))
        try:
            if what == "a column more":
                batch.rows.make_room(batch.bound)
            elif what == "trimmed":
                batch.rows.trim(*batch.rectangle)
            else:
                batch.rows.insert(newcomer, bound=500)
        except MemoryError:
            assert left < 0
        else:
            if "joins" in what:
                batch.running.append((9, 500))
    batch.check()
    batch.join(10, 400, 450)
    for _ in range(10):
        batch.step()
        batch.check()
