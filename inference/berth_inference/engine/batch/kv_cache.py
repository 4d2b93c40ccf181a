"""Keys and values of many sequences in the shape that transformers' models read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from berth_inference.engine.batch.scheduler import round_columns, round_rows

KeysAndValues = tuple[torch.Tensor, torch.Tensor] | None
"""Of one layer and one sequence, (heads, columns, head size) each; None where a layer has none of its own."""


class _GrowingLayer(CacheLayerMixin):  # type: ignore[misc, unused-ignore]  # transformers is untyped
    """One layer of a cache whose length is its owner's, so that a forward that fails can be repeated.

    Never says that it is sliding: all columns are kept, and the model's own mask makes the window.
    """

    is_sliding = False

    def __init__(self, owner: Staging | Rows) -> None:
        super().__init__()
        self._owner = owner
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate for the owner's capacity: (rows, heads, columns, head size)."""
        rows, columns = self._owner.capacity
        self.keys = key_states.new_zeros(rows, key_states.shape[1], columns, key_states.shape[3])
        self.values = value_states.new_zeros(rows, value_states.shape[1], columns, value_states.shape[3])

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new columns and return all, as views."""
        if self.keys is None:
            self.lazy_initialization(key_states, value_states)
        rows, length = key_states.shape[0], key_states.shape[-2]
        start = self._owner.columns
        stop = start + length
        self.keys[:rows, :, start:stop] = key_states
        self.values[:rows, :, start:stop] = value_states
        return self.keys[:rows, :, :stop], self.values[:rows, :, :stop]

    def get_seq_length(self) -> int:
        """Columns before this forward."""
        return self._owner.columns

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of what the mask covers."""
        return self._owner.columns + query_length, 0

    def get_max_length(self) -> int:
        """None: the owner sees to it that there is room."""
        return -1


class BatchCache(Cache):  # type: ignore[misc, unused-ignore]
    """The layers of a `Staging` or of `Rows`. `newest_only`: only what comes after the newest token is wanted."""

    def __init__(self, owner: Staging | Rows, layers: int, *, newest_only: bool) -> None:
        super().__init__(layers=[_GrowingLayer(owner) for _ in range(layers)])
        self.newest_only = newest_only


class Staging:
    """The keys and values of one sequence while its prompt is read."""

    def __init__(self, layers: int, length: int) -> None:
        self.columns = 0
        self.capacity = (1, length)
        self.cache = BatchCache(self, layers, newest_only=True)

    def copy(self, start: int, stop: int) -> list[KeysAndValues]:
        """The columns `start` to `stop` of every layer."""
        return [
            None
            if layer.keys is None
            else (layer.keys[0, :, start:stop].clone(), layer.values[0, :, start:stop].clone())
            for layer in self.cache.layers
        ]

    def begin(self, copies: Sequence[Sequence[KeysAndValues]]) -> None:
        """Fill the first columns with what `copy` gave, one part after the other."""
        for layer, parts in zip(self.cache.layers, zip(*copies, strict=True), strict=True):
            present = [part for part in parts if part is not None]
            if not present:
                continue
            keys = torch.cat([keys for keys, _ in present], dim=1)
            values = torch.cat([values for _, values in present], dim=1)
            layer.lazy_initialization(keys[None], values[None])
            length = keys.shape[1]
            layer.keys[0, :, :length] = keys
            layer.values[0, :, :length] = values
        self.columns = length


class Rows:
    """The keys and values of the rows of one batch, aligned at their ends.

    Every row's newest token is in the last used column, so one more column serves all rows at once
    whatever their lengths; the columns before a row's first token are masked. `lengths[i]` is the
    number of tokens of row i. Masked columns hold finite numbers: a masked NaN would still spread.
    """

    def __init__(self, layers: int) -> None:
        self.lengths: list[int] = []
        self.columns = 0
        self.capacity = (0, 0)
        self.cache = BatchCache(self, layers, newest_only=False)
        self._mask = torch.zeros(0, 0, dtype=torch.bool)

    def mask(self, count: int = 1) -> torch.Tensor:
        """Which columns belong to which row, with those of its next tokens: (rows, columns + count)."""
        rows, end = len(self.lengths), self.columns + count
        self._mask[:rows, self.columns : end] = True
        return self._mask[:rows, :end]

    def insert(self, staged: Staging, *, bound: int) -> None:
        """Append a row with a staged sequence's keys and values. `bound`: columns never to exceed."""
        length = staged.columns
        if not self.lengths:
            self.columns = 0
        elif max(self.columns, length) + 1 > bound:
            self._drop_unused()
        row, columns = len(self.lengths), max(self.columns, length)
        self._make_room(row + 1, columns + 1, bound, shift=columns - self.columns)
        for layer, source in zip(self.cache.layers, staged.cache.layers, strict=True):
            if source.keys is None:
                continue
            if layer.keys is None:
                layer.lazy_initialization(source.keys, source.values)
            for target, origin in ((layer.keys, source.keys), (layer.values, source.values)):
                target[row, :, : columns - length] = 0
                target[row, :, columns - length : columns] = origin[0, :, :length]
        self._mask[row, : columns - length] = False
        self._mask[row, columns - length : columns] = True
        self._mask[row, columns:] = False
        self.lengths.append(length)

    def advance(self) -> None:
        """The column after the last, over which a forward has succeeded, is every row's next token."""
        self.columns += 1
        self.lengths = [length + 1 for length in self.lengths]

    def make_room(self, bound: int, count: int = 1) -> None:
        """See to it that the next tokens have columns, and that columns no row uses are given back."""
        unused = self.columns - max(self.lengths)
        # Attention reads unused columns too, so they go once they are half of all; moving costs a copy.
        if self.columns + count > bound or unused * 2 > max(self.columns, 64):
            self._drop_unused()
        self._make_room(len(self.lengths), self.columns + count, bound, shift=0)

    def trim(self, rows: int, columns: int) -> None:
        """Give back what is held beyond so many rows and columns, which hold all that is used."""
        if self.excess(rows, columns):
            if self.columns + 1 > columns:
                self._drop_unused()
            self._resize((min(rows, self.capacity[0]), min(columns, self.capacity[1])))

    def excess(self, rows: int, columns: int) -> int:
        """Positions that are held beyond so many rows and columns."""
        return max(0, math.prod(self.capacity) - rows * columns)

    def remove(self, row: int) -> None:
        """Take a row out; the last row takes its place."""
        last = len(self.lengths) - 1
        if row != last:
            for layer in self.cache.layers:
                if layer.keys is not None:
                    layer.keys[row, :, : self.columns] = layer.keys[last, :, : self.columns]
                    layer.values[row, :, : self.columns] = layer.values[last, :, : self.columns]
            self._mask[row] = self._mask[last]
            self.lengths[row] = self.lengths[last]
        self.lengths.pop()

    def empty(self) -> None:
        """The last row has gone: give the memory back."""
        self.lengths, self.columns, self.capacity = [], 0, (0, 0)
        self._mask = torch.zeros(0, 0, dtype=torch.bool)
        for layer in self.cache.layers:
            layer.keys = layer.values = None

    def _make_room(self, rows: int, columns: int, bound: int, *, shift: int) -> None:
        """Room for so many rows and columns, what is there moved `shift` columns to the right."""
        if rows > self.capacity[0] or columns > self.capacity[1]:
            # Half as much again, so that a long answer is copied a few times and not for every 128 tokens.
            wanted = max(columns, min(self.capacity[1] * 3 // 2, bound))
            self._resize((round_rows(rows), round_columns(wanted)))
        if shift:
            self._shift(shift)

    def _resize(self, capacity: tuple[int, int]) -> None:
        """Move what is used into buffers of another size, one at a time: all at once would need twice the memory."""
        used, end = len(self.lengths), self.columns
        mask = torch.zeros(capacity, dtype=torch.bool)
        mask[:used, :end] = self._mask[:used, :end]
        # Should memory run out on the way, this much is true of every layer.
        self.capacity = (min(capacity[0], self.capacity[0]), min(capacity[1], self.capacity[1]))
        for layer in self.cache.layers:
            if layer.keys is not None:
                layer.keys = _resized(layer.keys, capacity, used, end)
                layer.values = _resized(layer.values, capacity, used, end)
        self._mask = mask
        self.capacity = capacity

    def _drop_unused(self) -> None:
        """Move the rows to the left until the longest begins at the first column."""
        unused = self.columns - max(self.lengths)
        if unused:
            self._shift(-unused)

    def _shift(self, by: int) -> None:
        """Move all rows by so many columns, to the left if negative. All layers, or none if memory is short."""
        used, end = len(self.lengths), self.columns
        source = slice(max(-by, 0), end)
        target = slice(max(by, 0), end + by)
        buffers = [
            buffer[:used]
            for layer in self.cache.layers
            if layer.keys is not None
            for buffer in (layer.keys, layer.values)
        ]
        # Source and target overlap. The place that the columns of one layer after the other go through
        # is made before anything moves.
        kinds = {_kind(buffer): buffer for buffer in buffers}
        through = {kind: torch.empty_like(buffer[:, :, source]) for kind, buffer in kinds.items()}
        for buffer in buffers:
            between = through[_kind(buffer)]
            between.copy_(buffer[:, :, source])
            buffer[:, :, target] = between
            buffer[:, :, : max(by, 0)] = 0
        moved = self._mask[:used, source].clone()
        self._mask[:used] = False
        self._mask[:used, target] = moved
        self.columns += by


def _resized(buffer: torch.Tensor, capacity: tuple[int, int], rows: int, columns: int) -> torch.Tensor:
    resized = buffer.new_zeros(capacity[0], buffer.shape[1], capacity[1], buffer.shape[3])
    resized[:rows, :, :columns] = buffer[:rows, :, :columns]
    return resized


def _kind(buffer: torch.Tensor) -> tuple[int, int, torch.device]:
    """Layers may differ in heads, head size and device."""
    return buffer.shape[1], buffer.shape[3], buffer.device
